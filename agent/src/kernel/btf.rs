//! Asking this kernel about its own types: offsets, enum values, arguments of tracepoints.

use std::collections::BTreeMap;
use std::fs;

use anyhow::anyhow;
use btfparse::{Integer32Value, Offset, Readable, TypeInformation, TypeVariant};
use probe502_core::decode::Names;

use super::Blocked;

/// Where the kernel describes its types (`CONFIG_DEBUG_INFO_BTF`).
const PLACE: &str = "/sys/kernel/btf/vmlinux";

/// All types of the running kernel.
pub struct KernelTypes(TypeInformation);

/// The description, read at once: thousands of small reads of a sysfs file cost more.
struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = start
            .checked_add(buffer.len())
            .and_then(|end| self.0.get(start..end));
        let bytes = bytes.ok_or_else(|| {
            btfparse::Error::new(
                btfparse::ErrorKind::IOError,
                "the kernel's BTF is cut short",
            )
        })?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl KernelTypes {
    /// Reads `/sys/kernel/btf/vmlinux`.
    pub fn read() -> anyhow::Result<Self> {
        let bytes = fs::read(PLACE).map_err(|error| {
            Blocked::NoBtf(format!(
                "cannot read {PLACE} ({error}): probe502 needs a kernel with \
                 CONFIG_DEBUG_INFO_BTF=y, and /sys mounted"
            ))
        })?;
        let types = TypeInformation::new(&Bytes(bytes));
        types
            .map(Self)
            .map_err(|error| anyhow!("{PLACE} is not understood: {error:?}"))
    }

    /// A member's offset in bytes, and its first bit within that byte.
    pub fn offset(&self, structure: &str, member: &str) -> Option<(u32, u32)> {
        let (_, offset) = self.0.offset_of(self.0.id_of(structure)?, member).ok()?;
        Some(match offset {
            Offset::ByteOffset(byte) => (byte, 0),
            Offset::BitOffsetAndSize(bit, _) => (bit / 8, bit % 8),
        })
    }

    /// An enum's value by its name.
    pub fn value(&self, enumeration: &str, name: &str) -> Option<u32> {
        self.values(enumeration)
            .into_iter()
            .find(|(_, known)| known == name)
            .map(|(value, _)| value)
    }

    /// The arguments of a tracepoint as types' ids, without the leading `void *` of its typedef.
    /// `None` where this kernel has no such tracepoint.
    pub fn arguments(&self, tracepoint: &str) -> Option<Vec<u32>> {
        let typedef = self.0.id_of(&format!("btf_trace_{tracepoint}"))?;
        let TypeVariant::Typedef(typedef) = self.0.from_id(typedef)? else {
            return None;
        };
        let function = self.0.pointee_tid(*typedef.tid()).ok()?;
        let TypeVariant::FuncProto(function) = self.0.from_id(function)? else {
            return None;
        };
        Some(
            function
                .parameter_list()
                .iter()
                .skip(1)
                .map(|parameter| parameter.tid())
                .collect(),
        )
    }

    /// Whether a type is a pointer.
    pub fn is_pointer(&self, id: u32) -> bool {
        matches!(self.0.from_id(id), Some(TypeVariant::Ptr(_)))
    }

    /// The names behind the reasons in the records, without their prefixes.
    pub fn names(&self) -> Names {
        Names {
            reset_reasons: self.stripped("sk_rst_reason", "SK_RST_REASON_"),
            drop_reasons: self.stripped("skb_drop_reason", "SKB_DROP_REASON_"),
        }
    }

    fn stripped(&self, enumeration: &str, prefix: &str) -> BTreeMap<u32, String> {
        let strip = |name: String| {
            name.strip_prefix(prefix)
                .map_or(name.clone(), str::to_owned)
        };
        self.values(enumeration)
            .into_iter()
            .map(|(value, name)| (value, strip(name)))
            .collect()
    }

    fn values(&self, enumeration: &str) -> Vec<(u32, String)> {
        let id = self.0.id_of(enumeration);
        let Some(TypeVariant::Enum(found)) = id.and_then(|id| self.0.from_id(id)) else {
            return Vec::new();
        };
        let number = |value: Integer32Value| match value {
            Integer32Value::Signed(value) => value.cast_unsigned(),
            Integer32Value::Unsigned(value) => value,
        };
        let named = found.named_value_list().iter();
        named
            .map(|named| (number(named.value), named.name.clone()))
            .collect()
    }
}
