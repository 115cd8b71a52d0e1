//! One hasher for every map whose keys clients choose.

/// ahash seeded from the broker's seed: this crate asks no operating system for randomness, and a
/// client that does not know the seed cannot choose names that collide.
pub(crate) fn state(seed: u64) -> ahash::RandomState {
    ahash::RandomState::with_seeds(
        seed,
        seed.rotate_left(16) ^ 0x243f_6a88_85a3_08d3,
        seed.rotate_left(32) ^ 0x1319_8a2e_0370_7344,
        seed.rotate_left(48) ^ 0xa409_3822_299f_31d0,
    )
}

/// A map whose keys clients choose.
pub(crate) type NameMap<K, V> = std::collections::HashMap<K, V, ahash::RandomState>;

/// A map whose keys this broker chooses.
pub(crate) type IdMap<K, V> =
    std::collections::HashMap<K, V, std::hash::BuildHasherDefault<ahash::AHasher>>;
