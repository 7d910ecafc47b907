//! Random bytes for ids, many from one call to the system.

use std::cell::RefCell;

/// Bytes fetched at once; an id takes 8 or 10.
const POOL_BYTES: usize = 1024;

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

/// So many random bytes, which nobody else gets.
///
/// # Errors
/// When the system gives none.
pub fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    const { assert!(N <= POOL_BYTES) };
    POOL.with_borrow_mut(|pool| {
        if pool.used + N > POOL_BYTES {
            getrandom::fill(&mut pool.bytes)?;
            pool.used = 0;
        }
        let mut taken = [0; N];
        let from = &mut pool.bytes[pool.used..pool.used + N];
        taken.copy_from_slice(from);
        from.fill(0);
        pool.used += N;
        Ok(taken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nobody_gets_what_another_has() {
        let here: Vec<[u8; 10]> = (0..1_000).map(|_| random().unwrap()).collect();
        let there = std::thread::spawn(|| (0..1_000).map(|_| random().unwrap()).collect());
        let there: Vec<[u8; 10]> = there.join().unwrap();
        let all: HashSet<[u8; 10]> = here.into_iter().chain(there).collect();
        assert_eq!(all.len(), 2_000);
    }
}
