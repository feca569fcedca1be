//! Comparing two folders byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

/// What a comparison walked over.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counted {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Symlinks and folders.
    pub others: u64,
}

/// Compares two trees: names, kinds, symlink targets and every byte. The first difference is the error.
///
/// Entries of the left side for which `left_out` says yes are expected to be absent on the right.
pub fn compare(left: &Path, right: &Path, left_out: &dyn Fn(&Path) -> bool) -> Result<Counted, String> {
    let mut counted = Counted::default();
    walk(left, right, left_out, &mut counted)?;
    Ok(counted)
}

fn names(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut names: Vec<PathBuf> = entries.map(|entry| PathBuf::from(entry.unwrap().file_name())).collect();
    names.sort();
    Ok(names)
}

fn walk(
    left: &Path,
    right: &Path,
    left_out: &dyn Fn(&Path) -> bool,
    counted: &mut Counted,
) -> Result<(), String> {
    let kind =
        |path: &Path| fs::symlink_metadata(path).map_err(|error| format!("{}: {error}", path.display()));
    let (a, b) = (kind(left)?, kind(right)?);
    if a.file_type() != b.file_type() {
        return Err(format!("{} and {} are of different kinds", left.display(), right.display()));
    }
    if a.is_dir() {
        counted.others += 1;
        let mut expected = names(left)?;
        expected.retain(|name| !left_out(&left.join(name)));
        let found = names(right)?;
        if expected != found {
            let odd = expected.iter().find(|name| !found.contains(name));
            let odd = odd.or_else(|| found.iter().find(|name| !expected.contains(name)));
            return Err(format!("{} and {} differ in {odd:?}", left.display(), right.display()));
        }
        for name in &found {
            walk(&left.join(name), &right.join(name), left_out, counted)?;
        }
    } else if a.is_symlink() {
        counted.others += 1;
        if fs::read_link(left).unwrap() != fs::read_link(right).unwrap() {
            return Err(format!("the symlinks {} and {} differ", left.display(), right.display()));
        }
    } else {
        counted.files += 1;
        counted.bytes += a.len();
        if !same_bytes(left, right)? {
            return Err(format!("{} and {} hold different bytes", left.display(), right.display()));
        }
    }
    Ok(())
}

fn same_bytes(left: &Path, right: &Path) -> Result<bool, String> {
    use std::io::Read;
    const PIECE: u64 = 4 << 20;
    let open = |path: &Path| fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()));
    let (mut a, mut b) = (open(left)?, open(right)?);
    let (mut piece_a, mut piece_b) = (Vec::new(), Vec::new());
    loop {
        piece_a.clear();
        piece_b.clear();
        a.by_ref().take(PIECE).read_to_end(&mut piece_a).map_err(|error| error.to_string())?;
        b.by_ref().take(PIECE).read_to_end(&mut piece_b).map_err(|error| error.to_string())?;
        if piece_a != piece_b {
            return Ok(false);
        }
        if piece_a.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_every_kind_of_difference() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for side in [&a, &b] {
            fs::create_dir_all(side.join("sub")).unwrap();
            fs::write(side.join("sub/file"), "same").unwrap();
            std::os::unix::fs::symlink("sub", side.join("link")).unwrap();
        }
        let all = |_: &Path| false;
        assert_eq!(compare(&a, &b, &all).unwrap().files, 1);
        fs::write(a.join("sub/file"), "diff").unwrap();
        assert!(compare(&a, &b, &all).is_err());
        fs::write(a.join("sub/file"), "same").unwrap();
        fs::write(b.join("more"), "").unwrap();
        assert!(compare(&a, &b, &all).is_err());
        assert!(compare(&b, &a, &|path| path.ends_with("more")).is_ok());
        fs::remove_file(b.join("more")).unwrap();
        fs::remove_file(b.join("link")).unwrap();
        std::os::unix::fs::symlink("other", b.join("link")).unwrap();
        assert!(compare(&a, &b, &all).is_err());
    }
}
