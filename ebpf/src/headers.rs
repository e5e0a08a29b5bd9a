//! A kernel packet's own headers, where no program's context gives them.

use probe502_common::Tuple;

use crate::{
    kernel::{Kernel, net_inum, write_mapped},
    layout::layout,
};

/// The network namespace that a kernel packet is in: by its device, else by its route.
#[inline(always)]
pub fn netns(packet: Kernel) -> u32 {
    let device = packet.follow(layout!(skb_dev)).or_else(|| {
        let route: u64 = packet.read(layout!(skb_dst))?;
        // The lowest bit says that the reference is not counted (`SKB_DST_NOREF`).
        let route = Kernel::at((route & !1) as *const _)?;
        route.follow(layout!(dst_dev))
    });
    device
        .and_then(|device| device.follow(layout!(dev_net)))
        .map_or(0, net_inum)
}

/// Whether a kernel packet came in by a device, rather than from a socket of its namespace.
#[inline(always)]
pub fn has_arrived(packet: Kernel) -> bool {
    packet.read::<u32>(layout!(skb_iif)).unwrap_or(0) != 0
}

/// Where a kernel packet's IP and TCP headers are; `None` where it is not TCP.
#[derive(Clone, Copy)]
pub struct Headers {
    ip: Kernel,
    tcp: Kernel,
    is_v4: bool,
}

impl Headers {
    #[inline(always)]
    pub fn of(packet: Kernel) -> Option<Self> {
        let head = packet.follow(layout!(skb_head))?;
        let network: u16 = packet.read(layout!(skb_network_header))?;
        let ip = head.plus(u64::from(network));
        let first: u8 = ip.read(0)?;
        match first >> 4 {
            4 if ip.read::<u8>(9)? == 6 => {
                let tcp = ip.plus(u64::from(first & 15) * 4);
                Some(Self {
                    ip,
                    tcp,
                    is_v4: true,
                })
            }
            6 if ip.read::<u8>(6)? == 6 => Some(Self {
                ip,
                tcp: ip.plus(40),
                is_v4: false,
            }),
            _ => None,
        }
    }

    /// Its source as `local`.
    #[inline(always)]
    pub fn write_tuple(self, to: &mut Tuple) {
        if self.is_v4 {
            write_mapped(self.ip, 12, &mut to.local);
            write_mapped(self.ip, 16, &mut to.remote);
        } else {
            self.ip.copy(8, &mut to.local);
            self.ip.copy(24, &mut to.remote);
        }
        self.tcp.copy(0, &mut to.local_port);
        self.tcp.copy(2, &mut to.remote_port);
        to.padding = [0; 4];
    }

    /// The sequence number (RFC 9293, 3.1).
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        self.tcp.read(4).map_or(0, u32::from_be)
    }

    /// The acknowledgement number (RFC 9293, 3.1).
    #[inline(always)]
    pub fn acknowledges(self) -> u32 {
        self.tcp.read(8).map_or(0, u32::from_be)
    }

    /// The flags byte (RFC 9293, 3.1).
    #[inline(always)]
    pub fn tcp_flags(self) -> u8 {
        self.tcp.read(13).unwrap_or(0)
    }
}
