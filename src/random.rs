//! Random numbers. Numbers for jitter, tokens of claims and short IDs need not be secret; they come from a generator, never from bits of a UUID,
//! whose version and variant are fixed.

/// Draws a number, each equally likely.
pub fn number() -> u64 {
    rand::random()
}

/// Draws a number so wide that two draws are never the same.
pub fn wide() -> u128 {
    rand::random()
}

/// Draws bytes for keys and secrets from the system.
///
/// # Errors
/// The system gives none.
pub fn secret<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that each tenth of the range gets a tenth of 10,000 draws, within five standard deviations.
    #[track_caller]
    fn assert_even(draw: impl Fn() -> u64) {
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            tenths[usize::try_from((u128::from(draw()) * 10) >> 64).unwrap()] += 1;
        }
        assert!(
            tenths.iter().all(|count| (850..=1150).contains(count)),
            "{tenths:?}"
        );
    }

    #[test]
    fn draws_are_even_over_the_whole_range() {
        assert_even(number);
        assert_even(|| u64::try_from(wide() >> 64).unwrap());
        assert_even(|| u64::try_from(wide() & u128::from(u64::MAX)).unwrap());
        assert_even(|| number() << 54);
    }
}
