//! Records as the kernel programs write them, and what they mean.

use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::units::{Errno, Head};

fn blank<T: FromZeros + IntoBytes + FromBytes>(kind: u16) -> T {
    let mut record = T::new_zeroed();
    record.as_mut_bytes()[..2].copy_from_slice(&kind.to_ne_bytes());
    record
}

#[test]
fn a_flow_keeps_what_the_kernel_said() {
    let mut flow: records::Flow = blank(kind::ANSWERED);
    flow.socket.header.at = 7;
    flow.socket.status = 502;
    flow.socket.role = role::ACCEPTED;
    flow.socket.tuple.local = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
    flow.socket.tuple.local_port = 8080u16.to_be_bytes();
    flow.said_head[..4].copy_from_slice(b"HTTP");
    flow.socket.said_head_length = 4;
    flow.socket.flags = flag::FIN_HEARD | flag::ESTABLISHED | flag::CONTINUED | flag::SPEAKS_HTTP;
    (flow.socket.isn, flow.socket.peer_isn) = (1, 2);
    let event = Decoder::default().decode(flow.as_bytes()).unwrap();
    assert_eq!(event.at, Timestamp(7));
    let Fact::Answered(flow) = event.fact else {
        panic!("not answered: {event:?}")
    };
    assert_eq!(flow.local, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(flow.said_head, Head(b"HTTP".to_vec()));
    assert!(flow.fin_heard && flow.established && flow.continued && !flow.late);
    assert_eq!((flow.isn, flow.peer_isn), (1, 2));
    assert_eq!((flow.task, flow.said_at), (None, None));
}

#[test]
fn reasons_have_this_kernels_names() {
    let mut reset: records::Reset = blank(kind::RESET);
    reset.reason = 3;
    let mut names = Names::default();
    names.reset_reasons.insert(3, "NO_SOCKET".to_owned());
    let event = Decoder::new(names).decode(reset.as_bytes()).unwrap();
    let Fact::Reset(reset) = event.fact else {
        panic!("not a reset: {event:?}")
    };
    assert_eq!(reset.reason.as_deref(), Some("NO_SOCKET"));
}

#[test]
fn an_exit_code_is_a_status_or_a_signal() {
    let mut death: records::Death = blank(kind::DEATH);
    for (code, status, signal, core) in [
        (0x0300, Some(3), None, false),
        (9, None, Some(9), false),
        (0x8b, None, Some(11), true),
    ] {
        death.code = code;
        let event = Decoder::default().decode(death.as_bytes()).unwrap();
        let Fact::Death(death) = event.fact else {
            panic!("not a death: {event:?}")
        };
        assert_eq!(
            (death.status, death.signal, death.core),
            (status, signal, core)
        );
    }
}

#[test]
fn what_has_no_meaning_is_an_error_with_the_number_in_it() {
    let decoder = Decoder::default();
    assert_eq!(decoder.decode(&[1, 2]), Err(DecodeError::Header(2)));
    let unknown: records::Victim = blank(99);
    assert_eq!(
        decoder.decode(unknown.as_bytes()),
        Err(DecodeError::Kind(99))
    );
    let short: records::Victim = blank(kind::DEATH);
    let error = decoder.decode(short.as_bytes()).unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::Size {
                kind: kind::DEATH,
                ..
            }
        ),
        "{error}"
    );
    let mut odd: records::Reset = blank(kind::RESET);
    odd.role = 9;
    let error = decoder.decode(odd.as_bytes()).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Number {
            field: "role",
            number: 9
        }
    );
    let mut long: records::Flow = blank(kind::HEARD);
    long.socket.said_head_length = 1000;
    let error = decoder.decode(long.as_bytes()).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Number {
            field: "said_head",
            number: 1000
        }
    );
}

#[test]
fn a_record_is_as_long_as_what_there_is_to_say() {
    let mut flow: records::Flow = blank(kind::ENDED);
    flow.socket.error = 111;
    flow.socket.heard_head_length = 4;
    flow.heard_head[..4].copy_from_slice(b"GET ");
    let heard = |bytes: &[u8]| {
        let event = Decoder::default().decode(bytes).unwrap();
        let Fact::Ended(flow) = event.fact else {
            panic!("not an end: {event:?}")
        };
        assert_eq!(flow.error, Errno(111));
        flow.heard_head
    };
    let (dial, brief) = (size_of::<records::Socket>(), size_of::<records::Brief>());
    let whole = heard(flow.as_bytes());
    assert_eq!(whole, Head(b"GET ".to_vec()));
    assert_eq!(heard(&flow.as_bytes()[..brief]), whole);
    assert!(dial <= 200, "a refused dial is {dial} bytes");
    let cut = Decoder::default().decode(&flow.as_bytes()[..dial]);
    let number = 4;
    let field = "heard_head";
    assert_eq!(cut.unwrap_err(), DecodeError::Number { field, number });
    flow.socket.heard_head_length = 0;
    assert_eq!(heard(&flow.as_bytes()[..dial]), Head(Vec::new()));
}
