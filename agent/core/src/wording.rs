//! What each cause means, and what to do about it in general: the words of `explain`.

use crate::cause::Cause;

impl Cause {
    /// One line on what happened.
    #[must_use]
    pub const fn title(self) -> &'static str {
        WORDS[self as usize].1
    }

    /// What to do, without an incident's numbers.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        WORDS[self as usize].2
    }
}

/// What happened, and what to do; in the catalogue's order, one for each.
const WORDS: [(Cause, &str, &str); Cause::ALL.len()] = [
    (
        Cause::OomCgroup,
        "the upstream process was OOM-killed at its cgroup's memory limit",
        "raise the cgroup's memory limit, or run fewer workers, or find what grows",
    ),
    (
        Cause::OomHost,
        "the upstream process was OOM-killed because the host had no memory left",
        "give the host more memory, or limit its biggest processes",
    ),
    (
        Cause::OomUserspace,
        "a program that guards the host's memory killed the upstream process",
        "give the host or the service's group more memory, or limit what grows",
    ),
    (
        Cause::Crash,
        "the upstream process crashed",
        "look at the core dump: `coredumpctl info`, or the service's log",
    ),
    (
        Cause::Exit,
        "the upstream process exited by itself with requests to serve",
        "look for an unhandled exception or a recycling setting (max-requests)",
    ),
    (
        Cause::KilledByParent,
        "the upstream worker was ended by its own master",
        "raise the worker timeout above the slowest request, or make that one faster",
    ),
    (
        Cause::KilledByRuntime,
        "the upstream process was stopped by systemd or a container runtime",
        "drain before the stop: fail readiness, wait (preStop), then stop",
    ),
    (
        Cause::KilledByUser,
        "a person or a script ended the upstream process",
        "ask the sender that the evidence names; stop services through their manager",
    ),
    (
        Cause::Killed,
        "the upstream process was ended by a signal",
        "look at the kernel log and the service's log at that moment",
    ),
    (
        Cause::ListenerAbsent,
        "nothing listens on the address that the gateway dialled",
        "start the upstream, or correct the port in the gateway's configuration",
    ),
    (
        Cause::ListenerOtherPort,
        "the upstream listens on another port than the gateway dialled",
        "use the same port on both sides",
    ),
    (
        Cause::ListenerOtherAddress,
        "the upstream listens on that port, but not on the address that was dialled",
        "bind the upstream to 0.0.0.0 or [::], or dial the address that it is bound to",
    ),
    (
        Cause::ListenerClosed,
        "the upstream closed its listening socket and lives on",
        "take the upstream out of the gateway's rotation before it stops listening",
    ),
    (
        Cause::ListenerClosedQueued,
        "the connection still waited to be accepted when the upstream stopped listening",
        "drain before the stop: fail readiness and wait; or set net.ipv4.tcp_migrate_req=1 \
                 where the next process listens with SO_REUSEPORT",
    ),
    (
        Cause::BacklogFull,
        "the accept queue of the upstream's listener was full",
        "raise the backlog (listen(2)) and net.core.somaxconn, or add workers that accept",
    ),
    (
        Cause::ListenerNotReady,
        "the upstream was not listening yet when the gateway dialled",
        "send requests only once it listens: a readiness check, or socket activation",
    ),
    (
        Cause::ListenerNotAccepting,
        "the connection waited in the accept queue until the gateway gave up",
        "find what keeps the upstream from accepting: busy or stopped workers; add workers",
    ),
    (
        Cause::ListenerFdExhausted,
        "the upstream could not accept: all its file descriptors are in use",
        "raise its limit of open files (LimitNOFILE, ulimit -n), or find what leaks them",
    ),
    (
        Cause::AppClosedWithoutAnswer,
        "the upstream application closed the connection without an answer",
        "look at the application's log at that millisecond",
    ),
    (
        Cause::AppClosedMidHeader,
        "the upstream application closed in the middle of the answer's header",
        "look at the application's log at that millisecond",
    ),
    (
        Cause::AppClosedMidBody,
        "the upstream application closed in the middle of the answer's body",
        "look at the application's log at that millisecond",
    ),
    (
        Cause::AppResetUnread,
        "the upstream application closed without reading the whole request",
        "read the request's body before closing, also when refusing it",
    ),
    (
        Cause::AppResetLinger,
        "the upstream application reset the connection on purpose (SO_LINGER 0)",
        "remove SO_LINGER with a timeout of 0 from the application",
    ),
    (
        Cause::AppStalled,
        "the upstream application had the request and did not answer in time",
        "find what the request waits for, or raise the gateway's read timeout",
    ),
    (
        Cause::KeepaliveRace,
        "the upstream's idle timer closed a pooled connection as a request went out on it",
        "make the upstream's keep-alive timeout longer than the gateway's",
    ),
    (
        Cause::KeepaliveMiddlebox,
        "a firewall or load balancer on the way had forgotten a pooled connection",
        "close idle upstream connections, or send TCP keep-alives, before the middlebox's limit",
    ),
    (
        Cause::FilteredDrop,
        "a firewall dropped the connection's packets",
        "find the rule: `nft list ruleset`, `iptables-save -c`",
    ),
    (
        Cause::FilteredReject,
        "a firewall rejected the connection",
        "find the rule: `nft list ruleset`, `iptables-save`",
    ),
    (
        Cause::ResetByMiddlebox,
        "a reset came in the upstream's name, which its host had not sent",
        "look for what stands between: IPS, load balancer, service mesh; capture on both ends",
    ),
    (
        Cause::UnreachableRoute,
        "this host has no route to the upstream, or one that forbids it",
        "look at the route from the gateway's namespace: `ip route get ADDRESS`, `ip rule`",
    ),
    (
        Cause::UnreachableHost,
        "the upstream's host, or the router before it, did not answer on the local network",
        "look whether that host is up and has the address: `ip neigh`, `arping`",
    ),
    (
        Cause::UnreachableIcmp,
        "a router or a host said that the upstream cannot be reached",
        "ask who sent it: `tcpdump -n icmp or icmp6`; then look at that host's routes and rules",
    ),
    (
        Cause::Lost,
        "nobody answered, and nothing on this host was seen to drop the packets",
        "capture on both ends; is the upstream's host up, and what filters packets on the way",
    ),
    (
        Cause::HeaderTooBig,
        "the answer's header is larger than the gateway's buffer",
        "shrink cookies and headers, or raise the buffer: nginx proxy_buffer_size, HAProxy \
                 tune.bufsize",
    ),
    (
        Cause::Malformed,
        "the upstream's answer is not valid HTTP",
        "make the upstream send that line as HTTP wants it (RFC 9110, 5)",
    ),
    (
        Cause::NotHttp,
        "a server of another protocol listens where the gateway expects HTTP",
        "correct the port in the gateway's configuration",
    ),
    (
        Cause::PlainToTls,
        "the gateway sent a request in clear to a port that speaks TLS",
        "tell the gateway to use TLS to it: nginx `proxy_pass https://`, HAProxy `server … ssl`",
    ),
    (
        Cause::TlsToPlain,
        "the gateway began a TLS handshake with a port that does not speak TLS",
        "tell the gateway to use HTTP in clear to it, or correct the port",
    ),
    (
        Cause::TlsAlert,
        "a TLS alert ended the handshake with the upstream",
        "compare both sides: name (SNI), versions, ciphers, client certificate",
    ),
    (
        Cause::TlsDistrust,
        "the gateway did not accept the upstream's TLS certificate",
        "give the gateway the right CA and name, and the upstream a certificate that is in date",
    ),
    (
        Cause::TlsClosed,
        "the upstream closed the connection during the TLS handshake",
        "look at the upstream's log at that millisecond; check that the port speaks TLS",
    ),
    (
        Cause::RelayedUpstream,
        "the upstream itself gave the error; the gateway passed it on",
        "look at the upstream: it answered the error itself",
    ),
    (
        Cause::PortsExhausted,
        "the gateway's host had no free local port for another connection to the upstream",
        "keep upstream connections alive, or widen net.ipv4.ip_local_port_range",
    ),
    (
        Cause::NoLiveUpstream,
        "the gateway had marked every upstream down after earlier failures",
        "repair those failures; then soften the marking: nginx max_fails, fail_timeout",
    ),
    (
        Cause::OwnAnswer,
        "the gateway gave this answer itself, and turned to nobody for it",
        "look in its configuration: a rule that answers, a limit, a group without servers",
    ),
    (
        Cause::FdExhausted,
        "the gateway has no file descriptor left for a connection to its upstream",
        "raise the gateway's limit of open files: nginx worker_rlimit_nofile, systemd LimitNOFILE",
    ),
    (
        Cause::NoMemory,
        "the kernel had no memory left for the gateway's socket",
        "look at the host's memory and at the limits of socket buffers (net.ipv4.tcp_mem)",
    ),
    (
        Cause::ProxyDenied,
        "a policy on the gateway's host forbids it to dial its upstream",
        "look for the policy: SELinux (httpd_can_network_connect), AppArmor, seccomp, cgroup BPF",
    ),
    (
        Cause::UnixMissing,
        "the UNIX socket that the gateway dials does not exist",
        "start the service, or correct the path in the gateway's or the service's configuration",
    ),
    (
        Cause::UnixNoListener,
        "the UNIX socket is there, but nothing listens on it",
        "start the service: the socket's file is left over from one that has ended",
    ),
    (
        Cause::UnixBacklogFull,
        "the UNIX socket's queue of connections is full",
        "add workers, or raise the service's backlog and net.core.somaxconn",
    ),
    (
        Cause::UnixDenied,
        "the gateway may not write to the UNIX socket",
        "give the gateway's user access: php-fpm listen.owner and listen.group, or umask, or the mode",
    ),
    (
        Cause::DnsNxdomain,
        "the gateway's name server knows no such name",
        "correct the upstream's name, or create it: ask that name server with dig",
    ),
    (
        Cause::DnsServfail,
        "the gateway's name server failed to resolve the upstream's name",
        "look at the name server's log and at the servers that it forwards to",
    ),
    (
        Cause::DnsTimeout,
        "no name server answered the gateway",
        "check the name server's address, its load, and firewalls for UDP port 53",
    ),
    (
        Cause::UnknownEvidenceLost,
        "records were lost around this answer, so nothing is claimed",
        "watch fewer statuses, or do not record meanwhile: the agent could not keep up",
    ),
    (
        Cause::UnknownAttachedLate,
        "the connection is older than probe502, so nothing is claimed",
        "wait: connections opened from now on are seen whole",
    ),
    (
        Cause::UnknownHookMissing,
        "this kernel lacks a hook that may have told the cause",
        "see `probe502 doctor` for what is missing and how to get it",
    ),
    (
        Cause::UnknownUnexplained,
        "everything was seen, and nothing explains it",
        "record it (`probe502 record`) and report it; if the upstream runs on another \
                 host, run probe502 there",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_in_the_catalogues_order() {
        let order: Vec<Cause> = WORDS.iter().map(|(cause, _, _)| *cause).collect();
        assert_eq!(order, Cause::ALL);
    }

    #[test]
    fn every_cause_is_one_line_and_one_remedy() {
        for cause in Cause::ALL {
            for words in [cause.title(), cause.remedy()] {
                let long = words.len() > 20 && words.len() < 160;
                assert!(
                    long && !words.ends_with('.') && !words.contains('\n'),
                    "{cause}: {words}"
                );
            }
        }
    }
}
