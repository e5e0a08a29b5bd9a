//! What a UNIX path is for who dials it: the file through the dialler's own root, its listener by
//! the kernel's dump (sock_diag(7)).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use probe502_core::units::{Netns, Pid};
use probe502_core::unix::{Looked, Standing};

use super::diag::{exchange, u16_at, u32_at, within};
use super::proc;

/// `linux/netlink.h`, `linux/sock_diag.h`, `linux/unix_diag.h` and `net/tcp_states.h`.
const REQUEST_DUMP: u16 = 0x301;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_UNIX: u8 = 1;
const TCP_ESTABLISHED: u32 = 1;
const TCP_LISTEN: u32 = 10;
const SOCK_STREAM: u8 = 1;
const UDIAG_SHOW_NAME: u32 = 1;
const UDIAG_SHOW_VFS: u32 = 2;
const UDIAG_SHOW_PEER: u32 = 4;
const UDIAG_SHOW_RQLEN: u32 = 16;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;
/// Bytes of `struct nlmsghdr` with `struct unix_diag_req`, and of `struct unix_diag_msg`.
const ASKING: usize = 40;
const MESSAGE: usize = 16;

/// Every service of systemd holds a connection to it, and never asks it anything.
const JOURNAL: &[u8] = b"/run/systemd/journal/stdout\0";

/// A UNIX socket that listens or is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound {
    is_stream: bool,
    /// The other end's own inode, 0 of a listening one.
    peer: u32,
    /// The socket's own inode.
    socket: u32,
    /// The file's inode, 0 of an abstract one.
    inode: u32,
    /// As it was bound, without an abstract one's first NUL.
    name: Vec<u8>,
    queued: u32,
    limit: u32,
}

/// Looks, in these network namespaces; nothing where it cannot be said. With it, the inode of the
/// listening socket, 0 where nothing listens.
pub fn look(pid: Pid, path: String, places: &[(Pid, Netns)]) -> Option<(Looked, u64)> {
    let (standing, bound) = match path.strip_prefix('@') {
        Some(name) => abstract_name(name, places),
        None => file(pid, &path, places)?,
    };
    let bound = bound.as_ref();
    let looked = Looked {
        pid,
        path,
        standing,
        queued: bound.map_or(0, |bound| bound.queued),
        limit: bound.map_or(0, |bound| bound.limit),
        holders: Vec::new(),
    };
    Some((looked, bound.map_or(0, |bound| bound.socket.into())))
}

/// A listener's path, and its inode.
pub type Listening = (String, u64);

/// Every listening UNIX socket of a namespace.
pub fn listeners(place: (Pid, Netns)) -> Vec<Listening> {
    let bounds = within(place, || dump(TCP_LISTEN)).unwrap_or_default();
    let named = bounds.into_iter().filter(|bound| !bound.name.is_empty());
    let path = |bound: &Bound| {
        let mark = if bound.inode == 0 { "@" } else { "" };
        let name = match bound.inode {
            0 => &bound.name[..],
            _ => bound
                .name
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default(),
        };
        format!("{mark}{}", name.escape_ascii())
    };
    named
        .map(|bound| (path(&bound), bound.socket.into()))
        .collect()
}

/// The dialling ends of a namespace's connections, by their inodes: they have no name, and their other
/// ends have their listeners'.
pub fn dialled(place: (Pid, Netns)) -> Vec<u64> {
    let bounds = within(place, || dump(TCP_ESTABLISHED)).unwrap_or_default();
    let is_server = |bound: &&Bound| !bound.name.is_empty() && bound.name != JOURNAL;
    let servers: BTreeSet<u32> = bounds
        .iter()
        .filter(is_server)
        .map(|bound| bound.socket)
        .collect();
    let is_dialled =
        |bound: &&Bound| bound.is_stream && bound.name.is_empty() && servers.contains(&bound.peer);
    let found = bounds.iter().filter(is_dialled);
    found.map(|bound| bound.socket.into()).collect()
}

type State = (Standing, Option<Bound>);

fn file(pid: Pid, path: &str, places: &[(Pid, Netns)]) -> Option<State> {
    let metadata = match fs::metadata(seen_by(pid, path)) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some((Standing::Missing, None));
        }
        Err(_) => return None,
    };
    let inode = metadata.ino();
    let is_it = |bound: &Bound| u64::from(bound.inode) == inode;
    let bound = metadata
        .file_type()
        .is_socket()
        .then(|| listener(is_it, places))
        .flatten();
    if is_denied(pid, &seen_by(pid, path), &metadata) == Some(true) {
        return Some((Standing::Denied, bound));
    }
    Some((standing(bound.as_ref()), bound))
}

fn abstract_name(name: &str, places: &[(Pid, Netns)]) -> State {
    let is_it = |bound: &Bound| bound.inode == 0 && bound.name.escape_ascii().to_string() == name;
    let bound = listener(is_it, places);
    (standing(bound.as_ref()), bound)
}

fn standing(bound: Option<&Bound>) -> Standing {
    match bound {
        None => Standing::Stale,
        // The kernel lets one more wait than the limit says (`unix_recvq_full`).
        Some(bound) if bound.queued > bound.limit => Standing::Full,
        Some(_) => Standing::Open,
    }
}

/// The same file from here: through the process's own root, or its working directory.
fn seen_by(pid: Pid, path: &str) -> PathBuf {
    match path.strip_prefix('/') {
        Some(rest) => proc::path(pid, "root").join(rest),
        None => proc::path(pid, "cwd").join(path),
    }
}

/// Whether modes forbid a process to write to the socket or to search its folder (path_resolution(7)).
/// Access lists and capabilities in part are not looked at: then it is not known.
fn is_denied(pid: Pid, path: &Path, socket: &fs::Metadata) -> Option<bool> {
    let status = fs::read_to_string(proc::path(pid, "status")).ok()?;
    let numbers = |name: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap_or_default().split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    // The third is the one that counts for files.
    let uid = *numbers("Uid:").get(2).or(numbers("Uid:").get(1))?;
    if uid == 0 {
        return None;
    }
    let mut groups = numbers("Groups:");
    groups.extend(numbers("Gid:"));
    let allows = |file: &fs::Metadata, bit: u32| {
        let shift = match () {
            () if file.uid() == uid => 6,
            () if groups.contains(&file.gid()) => 3,
            () => 0,
        };
        file.mode() >> shift & bit != 0
    };
    let folder = fs::metadata(path.parent()?).ok()?;
    Some(!(allows(socket, 2) && allows(&folder, 1)))
}

/// The listener, in any of these namespaces: a path may be shared between containers.
fn listener(is_it: impl Fn(&Bound) -> bool, places: &[(Pid, Netns)]) -> Option<Bound> {
    let mut all = places
        .iter()
        .filter_map(|place| within(*place, || dump(TCP_LISTEN)).ok())
        .flatten();
    all.find(is_it)
}

fn dump(state: u32) -> io::Result<Vec<Bound>> {
    let mut found = Vec::new();
    exchange(&request(state), |message| found.extend(bound(message)))?;
    Ok(found)
}

/// `struct nlmsghdr` and `struct unix_diag_req`: every UNIX socket in a state.
fn request(state: u32) -> [u8; ASKING] {
    let show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN;
    let mut request = [0; ASKING];
    request[..4].copy_from_slice(&(ASKING as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[16] = AF_UNIX;
    request[20..24].copy_from_slice(&(1u32 << state).to_ne_bytes());
    request[28..32].copy_from_slice(&show.to_ne_bytes());
    request
}

/// `struct unix_diag_msg` and its attributes (`struct rtattr`).
fn bound(message: &[u8]) -> Option<Bound> {
    let mut bound = Bound {
        is_stream: message.get(1) == Some(&SOCK_STREAM),
        peer: 0,
        socket: u32_at(message, 4)?,
        inode: 0,
        name: Vec::new(),
        queued: 0,
        limit: 0,
    };
    let mut rest = message.get(MESSAGE..)?;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length).max(4);
        let value = rest.get(4..length)?;
        match kind {
            UNIX_DIAG_NAME => bound.name = value.strip_prefix(&[0]).unwrap_or(value).to_vec(),
            UNIX_DIAG_VFS => bound.inode = u32_at(value, 0)?,
            UNIX_DIAG_PEER => bound.peer = u32_at(value, 0)?,
            UNIX_DIAG_RQLEN => (bound.queued, bound.limit) = (u32_at(value, 0)?, u32_at(value, 4)?),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Some(bound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn own() -> (Pid, Netns) {
        let pid = Pid(std::process::id());
        (pid, proc::netns(pid).expect("/proc shows this process"))
    }

    #[test]
    fn a_path_is_missing_then_open_then_full_then_stale() {
        let path = std::env::temp_dir().join(format!("probe502-path-{}", std::process::id()));
        let text = path.to_str().expect("text").to_owned();
        let at = || {
            let (looked, _) = look(own().0, text.clone(), &[own()]).expect("seen");
            looked.standing
        };
        assert_eq!(at(), Standing::Missing);
        let listener = UnixListener::bind(&path).expect("bound");
        rustix::net::listen(&listener, 0).expect("a queue of one");
        assert_eq!(at(), Standing::Open);
        let waiting = UnixStream::connect(&path).expect("the one that may wait");
        assert_eq!(at(), Standing::Full);
        drop((listener, waiting));
        assert_eq!(at(), Standing::Stale);
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn the_dialling_end_of_a_connection_is_found() {
        use std::os::fd::AsRawFd as _;
        let path = std::env::temp_dir().join(format!("probe502-pool-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("bound");
        let dialling = UnixStream::connect(&path).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        let (pair, _other) = UnixStream::pair().expect("a pair");
        let inode = |fd: i32| {
            let link = fs::read_link(format!("/proc/self/fd/{fd}")).expect("open");
            proc::bracketed(link.to_str().expect("text"), "socket:").expect("a socket")
        };
        let found = dialled(own());
        assert!(found.contains(&inode(dialling.as_raw_fd())));
        assert!(!found.contains(&inode(accepted.as_raw_fd())));
        assert!(!found.contains(&inode(pair.as_raw_fd())));
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn an_abstract_name_is_found() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("probe502-abstract-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("bound");
        let at = || {
            let (looked, _) = look(own().0, format!("@{name}"), &[own()]).expect("seen");
            looked.standing
        };
        assert_eq!(at(), Standing::Open);
        drop(listener);
        assert_eq!(at(), Standing::Stale);
    }
}
