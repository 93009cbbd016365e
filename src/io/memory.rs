//! `memcpy` and `memmove` for static x86_64 binaries.
//!
//! Those of musl are one `rep movs` each, which takes tens of cycles to begin. Nearly all that we
//! copy is a number or a name, a packet's header, a value that moves: a fifth of the processor time
//! of a call was the beginning of copies. Here a short copy is a pair of loads and stores that may
//! overlap, and a long one is `rep movs`, too.
//!
//! The compiler and every library call these by name. They are checked under names of their own.

#![expect(unsafe_code, reason = "copying memory between pointers is what this is for")]

use std::arch::asm;
use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

/// From here on `rep movs` is faster; both are about as fast for a while around it.
const LONG_BYTES: usize = 1024;
/// Of one load or store.
const BLOCK_BYTES: usize = size_of::<__m128i>();

/// # Safety
/// As memcpy of C11 (§7.24.2.1).
unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    if len <= 2 * BLOCK_BYTES {
        // SAFETY: as promised by the caller.
        unsafe { copy_short(to, from, len) }
    } else if len < LONG_BYTES {
        // SAFETY: as promised by the caller, and there is more than a block.
        unsafe { copy_up(to, from, len) }
    } else {
        // SAFETY: as promised by the caller; the direction flag is clear in every function.
        unsafe {
            asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags));
        }
    }
}

/// # Safety
/// As memmove of C11 (§7.24.2.2).
unsafe fn copy_overlapping(to: *mut u8, from: *const u8, len: usize) {
    let ahead = (to as usize).wrapping_sub(from as usize);
    if len <= 2 * BLOCK_BYTES {
        // SAFETY: as promised by the caller.
        unsafe { copy_short(to, from, len) }
    } else if ahead >= len {
        let is_apart = (from as usize).wrapping_sub(to as usize) >= len;
        // SAFETY: as promised by the caller; upwards, nothing is written before it is read.
        unsafe { if is_apart { copy(to, from, len) } else { copy_up(to, from, len) } }
    } else {
        // SAFETY: as promised by the caller, and there is more than a block.
        unsafe { copy_down(to, from, len) }
    }
}

/// Up to two blocks, which may overlap: everything is read before anything is written.
unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: each load and store is within the first or the last bytes of `len`.
    unsafe {
        match len {
            0 => {}
            1 => to.write(from.read()),
            2..4 => copy_ends::<u16>(to, from, len),
            4..8 => copy_ends::<u32>(to, from, len),
            8..=16 => copy_ends::<u64>(to, from, len),
            _ => copy_ends::<__m128i>(to, from, len),
        }
    }
}

/// The first and the last `T`, which cover all between its size and twice that.
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, len: usize) {
    let last = len - size_of::<T>();
    // SAFETY: `len` is at least the size of a `T`.
    unsafe {
        let (head, tail) =
            (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
        to.cast::<T>().write_unaligned(head);
        to.add(last).cast::<T>().write_unaligned(tail);
    }
}

/// Block by block, from the first; `to` may overlap what is before `from`.
unsafe fn copy_up(to: *mut u8, from: *const u8, len: usize) {
    let last = len - BLOCK_BYTES;
    // SAFETY: every block is within `len`; the last one was read first, so nothing is lost.
    unsafe {
        let tail = _mm_loadu_si128(from.add(last).cast());
        let mut at = 0;
        while at < last {
            _mm_storeu_si128(to.add(at).cast(), _mm_loadu_si128(from.add(at).cast()));
            at += BLOCK_BYTES;
        }
        _mm_storeu_si128(to.add(last).cast(), tail);
    }
}

/// Block by block, from the last; `to` may overlap what is behind `from`.
unsafe fn copy_down(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: every block is within `len`; the first one was read first, so nothing is lost.
    unsafe {
        let head = _mm_loadu_si128(from.cast());
        let mut end = len;
        while end > BLOCK_BYTES {
            end -= BLOCK_BYTES;
            _mm_storeu_si128(to.add(end).cast(), _mm_loadu_si128(from.add(end).cast()));
        }
        _mm_storeu_si128(to.cast(), head);
    }
}

/// The names under which they are called.
#[cfg(all(target_env = "musl", not(test)))]
mod symbols {
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: as promised by the caller.
        unsafe { super::copy(to, from, len) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: as promised by the caller.
        unsafe { super::copy_overlapping(to, from, len) };
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENS: [usize; 5] = [1023, 1024, 1025, 2047, 4096];

    fn lens() -> impl Iterator<Item = usize> {
        (0..300).chain(LENS)
    }

    #[test]
    fn all_bytes_are_copied_and_no_others() {
        let from: Vec<u8> = (0..5000_u32).map(|number| (number * 7 % 251) as u8).collect();
        for len in lens() {
            for offset in [0, 1, 7, 8, 15] {
                let mut to = vec![0xff; len + 64];
                // SAFETY: both have that many bytes there.
                unsafe { copy(to.as_mut_ptr().add(offset), from.as_ptr().add(3), len) };
                assert_eq!(to[offset..offset + len], from[3..3 + len], "{len} at {offset}");
                let rest = to[..offset].iter().chain(&to[offset + len..]);
                assert!(rest.into_iter().all(|byte| *byte == 0xff), "{len} at {offset}");
            }
        }
    }

    #[test]
    fn what_overlaps_is_copied_as_if_it_did_not() {
        for len in lens() {
            for (from, to) in [(64, 64), (64, 63), (63, 64), (64, 48), (40, 64), (64, 0), (0, 64)] {
                let mut bytes: Vec<u8> = (0..5000_u32).map(|it| (it * 13 % 251) as u8).collect();
                let mut wanted = bytes.clone();
                wanted.copy_within(from..from + len, to);
                let start = bytes.as_mut_ptr();
                // SAFETY: both places are within the bytes.
                unsafe { copy_overlapping(start.add(to), start.add(from), len) };
                assert_eq!(bytes, wanted, "{len} from {from} to {to}");
            }
        }
    }
}
