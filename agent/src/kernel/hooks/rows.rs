//! The table's rows, in the order in which they attach.

use super::{Place, Row};

const fn row(name: &'static str, place: Place, arguments: usize, without: &'static str) -> Row {
    Row {
        name,
        place,
        arguments,
        without,
    }
}

pub const ROWS: &[Row] = &[
    row(
        "set_state",
        Place::Tracepoint("inet_sock_set_state"),
        3,
        "connections, who closed them, and listeners",
    ),
    row(
        "set_state_twin",
        Place::Tracepoint("inet_sock_set_state"),
        3,
        "changes of state that come while another is told of",
    ),
    row(
        "destroy_sock",
        Place::Tracepoint("tcp_destroy_sock"),
        1,
        "refused and reset attempts",
    ),
    row(
        "destroy_sock_twin",
        Place::Tracepoint("tcp_destroy_sock"),
        1,
        "refused and reset attempts that end while another is told of",
    ),
    row(
        "tcp_sendmsg",
        Place::Tracepoint("tcp_sendmsg_locked"),
        2,
        "failed answers and forwarded requests at their cheapest (packet_out sees them too)",
    ),
    row(
        "packet_out",
        Place::Egress,
        0,
        "failed answers and forwarded requests on kernels without tcp_sendmsg_locked",
    ),
    row(
        "packet_in",
        Place::Ingress,
        0,
        "requests as clients sent them, upstreams' first bytes, relayed errors",
    ),
    // Behind those that note where messages begin.
    row(
        "body_in",
        Place::Ingress,
        0,
        "answers that break off within a body in chunks, or behind a long header",
    ),
    row(
        "body_out",
        Place::Egress,
        0,
        "the same, of what the gateway passed on",
    ),
    row(
        "body_said",
        Place::Tracepoint("tcp_sendmsg_locked"),
        2,
        "what a gateway wrote last, where its packet waits for more (body_out sees the others)",
    ),
    row(
        "tcp_send_reset",
        Place::Tracepoint("tcp_send_reset"),
        2,
        "who reset or refused, and the kernel's reason",
    ),
    row(
        "tcp_send_reset_twin",
        Place::Tracepoint("tcp_send_reset"),
        2,
        "resets that are sent while another is told of",
    ),
    row(
        "tcp_receive_reset",
        Place::Tracepoint("tcp_receive_reset"),
        1,
        "resets that arrived",
    ),
    row(
        "tcp_receive_reset_twin",
        Place::Tracepoint("tcp_receive_reset"),
        1,
        "resets that arrive while another is told of",
    ),
    row(
        "inet_sk_error_report",
        Place::Tracepoint("inet_sk_error_report"),
        1,
        "ICMP errors that arrived",
    ),
    row(
        "process_exit",
        Place::Tracepoint("sched_process_exit"),
        1,
        "deaths of processes",
    ),
    row(
        "signal_sent",
        Place::Tracepoint("signal_generate"),
        3,
        "who killed a process",
    ),
    row(
        "oom_victim",
        Place::Tracepoint("mark_victim"),
        1,
        "OOM kills",
    ),
    row(
        "log_line",
        Place::Tracepoint("console"),
        2,
        "which limit an OOM kill was for, where /dev/kmsg cannot be read",
    ),
    row(
        "unix_ready",
        Place::OnCall("sk_data_ready"),
        1,
        "UNIX upstreams: dials, requests and answers",
    ),
    row(
        "unix_read",
        Place::OnCall("sock_recv_length"),
        3,
        "UNIX upstreams that closed or reset",
    ),
    row(
        "unix_written",
        Place::OnCall("sock_send_length"),
        3,
        "requests to UNIX upstreams that had gone",
    ),
    row(
        "unix_consumed",
        Place::Tracepoint("consume_skb"),
        1,
        "UNIX upstreams: who dials them, dials that failed, and answers",
    ),
    row(
        "call_failed",
        Place::OnCall("sys_exit"),
        2,
        "why a dial failed at once: descriptors, memory, policies, UNIX sockets",
    ),
    row(
        "kfree_skb",
        Place::Tracepoint("kfree_skb"),
        3,
        "packets that a firewall dropped, neighbours that do not answer",
    ),
    row(
        "dial4",
        Place::Connect4,
        0,
        "dials over IPv4 that fail before their first packet, questions to name servers",
    ),
    row(
        "dial6",
        Place::Connect6,
        0,
        "dials over IPv6 that fail before their first packet, questions to name servers",
    ),
    row(
        "socket_made",
        Place::Create,
        0,
        "that an answer is the gateway's own: it made no socket for it, not even one that failed",
    ),
    row(
        "route4",
        Place::Tracepoint("fib_table_lookup"),
        4,
        "why there was no route over IPv4",
    ),
    row(
        "route6",
        Place::Tracepoint("fib6_table_lookup"),
        4,
        "why there was no route over IPv6",
    ),
];
