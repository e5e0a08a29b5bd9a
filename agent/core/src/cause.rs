//! The catalogue: each cause's public id. Ids never change their meaning; new ones are added.

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal,)+) => {
        /// Why an answer failed: the deepest thing that the evidence proves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $($(#[doc = $doc])+ $name,)+ }

        impl Cause {
            /// Every cause, in the catalogue's order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The public id.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }
        }
    };
}

causes! {
    /// Killed at its cgroup's memory limit.
    OomCgroup = "process.oom.cgroup",
    /// Killed because the host had no memory.
    OomHost = "process.oom.host",
    /// A program that guards the memory killed it.
    OomUserspace = "process.oom.userspace",
    /// Ended by its own fault: SIGSEGV, SIGABRT and their kin.
    Crash = "process.crash",
    /// Called `exit` with a request outstanding.
    Exit = "process.exit",
    /// Its master ended it.
    KilledByParent = "process.killed.by-parent",
    /// systemd or a container runtime ended it.
    KilledByRuntime = "process.killed.by-runtime",
    /// A person or a script ended it.
    KilledByUser = "process.killed.by-user",
    /// Ended by a signal; the sender is not known.
    Killed = "process.killed",
    /// Nothing listens there.
    ListenerAbsent = "listener.absent",
    /// The service listens on another port.
    ListenerOtherPort = "listener.other-port",
    /// The service listens on another address.
    ListenerOtherAddress = "listener.other-address",
    /// Its living owner closed the listener.
    ListenerClosed = "listener.closed",
    /// The listener closed while the connection waited in its accept queue.
    ListenerClosedQueued = "listener.closed-queued",
    /// The listener's accept queue was full.
    BacklogFull = "listener.backlog-full",
    /// A listener came only after the gateway had dialled.
    ListenerNotReady = "listener.not-ready",
    /// The connection was queued and nobody accepted it.
    ListenerNotAccepting = "listener.not-accepting",
    /// Who should accept has no file descriptor left.
    ListenerFdExhausted = "listener.fd-exhausted",
    /// The application closed the connection and sent nothing.
    AppClosedWithoutAnswer = "app.closed-without-answer",
    /// The application closed in the middle of the answer's header.
    AppClosedMidHeader = "app.closed-mid-header",
    /// The application closed in the middle of the answer's body.
    AppClosedMidBody = "app.closed-mid-body",
    /// The application closed with bytes of the request unread.
    AppResetUnread = "app.reset-unread",
    /// The application closed with `SO_LINGER` 0.
    AppResetLinger = "app.reset-linger",
    /// The application has the request and does not answer.
    AppStalled = "app.stalled",
    /// The upstream's idle timer closed a pooled connection as a request went out on it.
    KeepaliveRace = "keepalive.race",
    /// A middlebox had forgotten a pooled connection.
    KeepaliveMiddlebox = "keepalive.middlebox",
    /// A firewall dropped it.
    FilteredDrop = "net.filtered.drop",
    /// A firewall rejected it.
    FilteredReject = "net.filtered.reject",
    /// A RST came that the upstream's host had not sent.
    ResetByMiddlebox = "net.reset-by-middlebox",
    /// No route, or one that forbids.
    UnreachableRoute = "net.unreachable.route",
    /// The next hop did not answer.
    UnreachableHost = "net.unreachable.host",
    /// A router or host said that it is unreachable.
    UnreachableIcmp = "net.unreachable.icmp",
    /// Nobody answered, and nothing was seen to drop it.
    Lost = "net.lost",
    /// The answer's header is larger than the gateway's buffer.
    HeaderTooBig = "protocol.header-too-big",
    /// The answer's header is not valid HTTP.
    Malformed = "protocol.malformed",
    /// Another protocol's server listens there.
    NotHttp = "protocol.not-http",
    /// A request in clear went to a TLS port.
    PlainToTls = "protocol.plain-to-tls",
    /// A TLS handshake was begun with a port that does not speak TLS.
    TlsToPlain = "protocol.tls-to-plain",
    /// An alert ended the TLS handshake.
    TlsAlert = "protocol.tls-alert",
    /// The gateway did not accept the upstream's certificate.
    TlsDistrust = "protocol.tls-distrust",
    /// The upstream closed the connection during the TLS handshake.
    TlsClosed = "protocol.tls-closed",
    /// The upstream's own answer was the error.
    RelayedUpstream = "relayed.upstream",
    /// No local port was left.
    PortsExhausted = "proxy.ports-exhausted",
    /// Every upstream was marked down by earlier failures.
    NoLiveUpstream = "proxy.no-live-upstream",
    /// The gateway gave the answer itself, and nothing had failed before.
    OwnAnswer = "proxy.own-answer",
    /// The gateway has no file descriptor left.
    FdExhausted = "proxy.fd-exhausted",
    /// The kernel had no memory for the gateway's socket.
    NoMemory = "proxy.no-memory",
    /// A policy forbade the gateway to dial.
    ProxyDenied = "proxy.denied",
    /// There is no such UNIX socket.
    UnixMissing = "unix.missing",
    /// Nothing listens on the UNIX socket.
    UnixNoListener = "unix.no-listener",
    /// The UNIX socket's queue is full.
    UnixBacklogFull = "unix.backlog-full",
    /// The gateway may not write to the UNIX socket.
    UnixDenied = "unix.denied",
    /// The name server knows no such name.
    DnsNxdomain = "proxy.dns.nxdomain",
    /// The name server failed.
    DnsServfail = "proxy.dns.servfail",
    /// No name server answered.
    DnsTimeout = "proxy.dns.timeout",
    /// Records were lost around this answer.
    UnknownEvidenceLost = "unknown.evidence-lost",
    /// The connection was opened before the agent.
    UnknownAttachedLate = "unknown.attached-late",
    /// A hook that would have told is missing on this kernel.
    UnknownHookMissing = "unknown.hook-missing",
    /// All was seen and nothing explains it.
    UnknownUnexplained = "unknown.unexplained",
}

impl std::fmt::Display for Cause {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.id())
    }
}

/// An id that no cause has.
#[derive(Debug, thiserror::Error)]
#[error("no cause is called '{0}'")]
pub struct NoSuchCause(pub String);

impl std::str::FromStr for Cause {
    type Err = NoSuchCause;

    fn from_str(id: &str) -> Result<Self, NoSuchCause> {
        let found = Self::ALL.iter().copied().find(|cause| cause.id() == id);
        found.ok_or_else(|| NoSuchCause(id.to_owned()))
    }
}

impl serde::Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.id())
    }
}

impl<'de> serde::Deserialize<'de> for Cause {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let id = String::deserialize(input)?;
        id.parse().map_err(serde::de::Error::custom)
    }
}
