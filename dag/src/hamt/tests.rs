use super::*;

/// Vectors of the reference implementation (MurmurHash3_x64_128, seed 0, first 8 bytes as a number).
#[test]
fn murmur3_vectors() {
    let vectors: [(&str, u64); 5] = [
        ("", 0x0000_0000_0000_0000),
        ("hello", 0xcbd8_a7b3_41bd_9b02),
        ("hello, world", 0x342f_ac62_3a5e_bc8e),
        ("19 Jan 2038 at 3:14:07 AM", 0xb89e_5988_b737_affc),
        ("The quick brown fox jumps over the lazy dog.", 0xcd99_481f_9ee9_02c9),
    ];
    for (text, hash) in vectors {
        assert_eq!(murmur3_x64_64(text.as_bytes()), hash, "{text}");
    }
}
