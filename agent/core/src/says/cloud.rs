//! The words of load balancers that run elsewhere: they stand in logs that only their owner sees.

use super::sight::Sight;

/// AWS Application Load Balancer: both status codes, then the times for request, target and answer
/// where they tell. Source: "Access logs for your Application Load Balancer" (log entry syntax),
/// "Troubleshoot your Application Load Balancers", and re:Post's "How do I troubleshoot Application
/// Load Balancer HTTP 502 errors?".
pub const fn alb(sight: Sight) -> &'static [&'static str] {
    match sight {
        Sight::NoLive => &["503 -, -1 -1 -1"],
        Sight::Refused | Sight::Unreachable => {
            &["502 -, -1 -1 -1; metric TargetConnectionErrorCount"]
        }
        Sight::ConnectTimeout => &["504 -; metric TargetConnectionErrorCount"],
        Sight::TlsAlert | Sight::TlsDistrust | Sight::TlsClosed | Sight::TlsToPlain => {
            &["502 -; metric TargetTLSNegotiationErrorCount"]
        }
        Sight::Eof | Sight::Reset | Sight::MidHeader => &["502 -, the time for the answer is -1"],
        Sight::NoAnswer => &["504 -, the time for the target is -1"],
        Sight::TooBig | Sight::Malformed => &["502 -"],
        Sight::OwnRule => &["the status -; actions_executed fixed-response"],
        Sight::Relayed => &["502 502; metric HTTPCode_Target_5XX_Count"],
        Sight::NameAbsent
        | Sight::NameFailed
        | Sight::NameTimeout
        | Sight::NoDescriptors
        | Sight::NoMemory
        | Sight::NoPorts
        | Sight::Denied
        | Sight::UnixMissing
        | Sight::UnixRefused
        | Sight::UnixFull
        | Sight::UnixDenied
        | Sight::BodyCut
        | Sight::BodyStalled => &[],
    }
}

/// Google Cloud external Application Load Balancer: `statusDetails`. Source: "Global external
/// Application Load Balancer logging and monitoring", `statusDetails` HTTP failure messages.
pub const fn gcp(sight: Sight) -> &'static [&'static str] {
    match sight {
        Sight::NoLive => &["failed_to_pick_backend"],
        Sight::Refused | Sight::Unreachable | Sight::ConnectTimeout => {
            &["failed_to_connect_to_backend"]
        }
        Sight::Eof | Sight::Reset | Sight::MidHeader => {
            &["backend_connection_closed_before_data_sent_to_client"]
        }
        Sight::NoAnswer => &["backend_timeout"],
        Sight::Relayed => &["response_sent_by_backend"],
        Sight::BodyCut => &["backend_connection_closed_after_partial_response_sent"],
        Sight::BodyStalled
        | Sight::NameAbsent
        | Sight::NameFailed
        | Sight::NameTimeout
        | Sight::OwnRule
        | Sight::NoDescriptors
        | Sight::NoMemory
        | Sight::NoPorts
        | Sight::Denied
        | Sight::UnixMissing
        | Sight::UnixRefused
        | Sight::UnixFull
        | Sight::UnixDenied
        | Sight::TlsAlert
        | Sight::TlsDistrust
        | Sight::TlsClosed
        | Sight::TlsToPlain
        | Sight::TooBig
        | Sight::Malformed => &[],
    }
}
