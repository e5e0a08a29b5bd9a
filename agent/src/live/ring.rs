//! The ring is read here, and what it lost is heeded before what it brought.

use probe502_core::event::{Fact, Lost};
use probe502_core::units::Timestamp;

use super::{Live, counts};

/// The ring fills fast where more than this share of it comes between two turns.
const PLENTY: u64 = 8;
/// Records that are decoded before the first of them is taken in.
const PART: usize = 256;

impl Live {
    /// In parts: a full ring's events at once would take more memory than the ring.
    pub(super) fn drain_ring(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let (mut drained, mut more) = (0, true);
        while more && drained <= self.ring_bytes {
            let (mut events, mut undecoded) = (Vec::new(), 0);
            let (kernel, decoder, lines) = (&mut self.kernel, &self.decoder, &mut self.lines);
            let part = kernel.drain(PART, |bytes| match lines.hear(bytes) {
                Some(report) => events.extend(report),
                None => match decoder.decode(bytes) {
                    Ok(event) => events.push(event),
                    Err(_) => undecoded += 1,
                },
            });
            (drained, more) = (drained + part.bytes, part.records == PART);
            // Before the records that came: many answers at once do not wait for their grace.
            self.heed_losses(now, undecoded)?;
            for event in events {
                self.take_in(event)?;
            }
        }
        self.plenty = drained > self.ring_bytes / PLENTY;
        self.drained = now;
        Ok(())
    }

    fn heed_losses(&mut self, now: Timestamp, undecoded: u64) -> anyhow::Result<()> {
        self.undecoded += undecoded;
        let lost = self.kernel.lost();
        for (kind, count) in &lost {
            let known = self.ring_lost.get(kind).copied().unwrap_or_default();
            self.lose(now, Some(kind), count.saturating_sub(known))?;
        }
        self.ring_lost = lost;
        self.lose(now, None, undecoded)
    }

    fn lose(&mut self, now: Timestamp, kind: Option<&str>, count: u64) -> anyhow::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let lost = Lost {
            since_at: Some(self.drained),
            stage: counts::stage(kind).to_owned(),
            count,
            kind: kind.map(str::to_owned),
        };
        self.feed(now, Fact::Lost(lost))
    }
}
