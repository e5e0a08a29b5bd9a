//! What was written is what is read.

use super::*;
use crate::event::{Attached, Fact, Lost, Pod, Process, Reset, Signal};
use crate::units::{Cookie, Head, Netns, Timestamp};

fn returns(event: &Event) -> String {
    let line = write_event(event);
    assert_eq!(&parse_event(&line).unwrap(), event, "{line}");
    line
}

fn task(comm: &str) -> Task {
    Task {
        pid: Pid(7),
        tid: 8,
        parent: Pid(1),
        uid: 33,
        comm: comm.to_owned(),
    }
}

#[test]
fn a_flow_returns_and_reads_well() {
    let line = "12.000000001 ended netns=1 cookie=5 local=[::1]:40000 remote=[::1]:8000 \
                role=dialled how=released task=nginx[7/8]<1:33 said_at=11.500000000 error=104 \
                reset_heard=true said_head=\"GET /a?b=\\\"c\\\" HTTP/1.1\\r\\n\\x00\"";
    let event = parse_event(line).unwrap();
    assert_eq!(write_event(&event), line);
    let Fact::Ended(flow) = event.fact else {
        panic!("not ended")
    };
    assert_eq!(flow.said_at, Some(Timestamp(11_500_000_000)));
    assert_eq!(
        flow.said_head,
        Head(b"GET /a?b=\"c\" HTTP/1.1\r\n\0".to_vec())
    );
    assert_eq!(flow.task, Some(task("nginx")));
}

#[test]
fn every_text_returns() {
    for comm in [
        "",
        "a b",
        "12",
        "true",
        "x[1/2]<3:4",
        "\"\\",
        "é\n",
        "#",
        "a=b,c",
    ] {
        let (sender, target) = (task(comm), task("y"));
        let signal = Signal {
            sender,
            target,
            number: 9,
            kernel: true,
        };
        returns(&Event {
            at: Timestamp(3),
            fact: Fact::Signal(signal),
        });
        let process = Process {
            comm: comm.to_owned(),
            ..Process::default()
        };
        returns(&Event {
            at: Timestamp(3),
            fact: Fact::Process(process),
        });
        let pod = Pod {
            name: comm.to_owned(),
            gone: comm.is_empty(),
            ..Pod::default()
        };
        returns(&Event {
            at: Timestamp(3),
            fact: Fact::Pod(pod),
        });
    }
}

#[test]
fn facts_without_much_return() {
    let at = Timestamp(u64::MAX);
    assert_eq!(
        returns(&Event {
            at,
            fact: Fact::Tick
        }),
        "18446744073.709551615 tick"
    );
    returns(&Event {
        at,
        fact: Fact::Lost(Lost {
            kind: None,
            since_at: None,
            stage: "ring".to_owned(),
            count: 0,
        }),
    });
    // Exit status 0 is not the same as none.
    let death = crate::event::Death {
        task: Task::default(),
        status: Some(0),
        signal: None,
        core: false,
        answered_at: Some(at),
    };
    returns(&Event {
        at,
        fact: Fact::Death(death),
    });
    let missing = vec!["a".to_owned(), "b".to_owned()];
    returns(&Event {
        at,
        fact: Fact::Attached(Attached {
            ordered: false,
            wall: u64::MAX,
            missing,
        }),
    });
    returns(&Event {
        at,
        fact: Fact::Attached(Attached::default()),
    });
}

#[test]
fn a_reset_with_a_number_for_a_reason_returns() {
    let at = Timestamp(1);
    let (local, remote) = (
        "127.0.0.1:80".parse().unwrap(),
        "127.0.0.1:1".parse().unwrap(),
    );
    let (netns, cookie) = (Netns(0), Cookie(0));
    let reason = Some("17".to_owned());
    let role = crate::event::Role::Unknown;
    let reset = Reset {
        netns,
        cookie,
        local,
        remote,
        role,
        reason,
        sequence: 0,
    };
    returns(&Event {
        at,
        fact: Fact::Reset(reset),
    });
}

#[test]
fn a_wrong_line_says_what_is_wrong() {
    for (line, words) in [
        ("", "begins with"),
        ("x tick", "not a moment"),
        ("1.0000000000 tick", "not a moment"),
        ("1 tock", "unknown variant"),
        ("1 lost stage", "key=value"),
        ("1 lost stage=\"x count=1", "does not end"),
        ("1 lost stage=ring", "missing field"),
        ("1 death task=x[1/2]", "not a task"),
    ] {
        let error = parse_event(line).unwrap_err().to_string();
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn what_was_looked_at_returns() {
    for line in [
        "3.000000000 peer netns=1 local=127.0.0.1:8000 remote=127.0.0.1:40000 state=8 held=true \
         received=180 heard_at=2.500000000 unread=4 holders=4120,4127",
        "3.000000000 peer netns=1 local=127.0.0.1:8000 remote=127.0.0.1:40000 holders=\"7\"",
        "3.000000000 queue netns=1 remote=127.0.0.1:8000 local=0.0.0.0:8000 queued=2 limit=1",
        "3.000000000 doing pid=7 state=S threads=2 calls=\"1 futex,1 poll\" on=10.0.0.9:5432",
        "3.000000000 descriptors pid=7 open=16 most=16",
        "3.000000000 descriptors pid=7",
        "3.000000000 ports netns=1 remote=[::1]:80 first=40000 last=40003 used=4",
    ] {
        let event = parse_event(line).unwrap();
        assert_eq!(write_event(&event), line);
    }
}

#[test]
fn a_path_without_a_letter_is_a_path() {
    let event = parse_event(
        "1.000000000 ended netns=1 cookie=5 local=[::]:0 remote=[::]:0 role=dialled path=\"\"",
    );
    assert!(returns(&event.unwrap()).ends_with(" path=\"\""));
}

#[test]
fn a_number_of_zero_is_left_out_and_returns() {
    for line in [
        "1.000000000 overflow netns=1 cookie=5 local=[::1]:8000 remote=[::1]:40000",
        "1.000000000 call task=nginx[7/8]<1:33 which=connect",
    ] {
        let event = parse_event(line).unwrap();
        assert_eq!(returns(&event), line);
    }
}
