//! Which listener covers an address, and which one a close ends.

use super::*;
use crate::units::Cookie;

fn listener(local: &str, v6_only: bool) -> Listener {
    Listener {
        netns: Netns(1),
        cookie: Cookie(0),
        local: local.parse().unwrap(),
        task: Task::default(),
        dying: false,
        v6_only,
        queued: 0,
        limit: 0,
        before: true,
    }
}

#[test]
fn unspecified_addresses_cover_all_of_their_family() {
    for (local, v6_only, address, expected) in [
        ("0.0.0.0:1", false, "10.0.0.1", true),
        ("0.0.0.0:1", false, "::1", false),
        ("[::]:1", false, "10.0.0.1", true),
        ("[::]:1", true, "10.0.0.1", false),
        ("[::]:1", true, "::1", true),
        ("[::1]:1", false, "127.0.0.1", false),
        ("127.0.0.1:1", false, "127.0.0.1", true),
        ("127.0.0.1:1", false, "127.0.0.2", false),
    ] {
        let covers = covers(&listener(local, v6_only), address.parse().unwrap());
        assert_eq!(covers, expected, "{local} {address}");
    }
}

#[test]
fn a_close_with_a_cookie_finds_the_dumped_listener() {
    let mut listeners = Listeners::default();
    listeners.open(Timestamp(1), listener("0.0.0.0:80", false));
    let address = "10.0.0.1:80".parse().unwrap();
    assert!(listeners.covering(Netns(1), address).is_some());
    let cookie = Cookie(77);
    listeners.close(
        Timestamp(2),
        Listener {
            cookie,
            ..listener("0.0.0.0:80", false)
        },
    );
    assert!(listeners.covering(Netns(1), address).is_none());
    assert_eq!(listeners.count, 0);
}
