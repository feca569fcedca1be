use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_repo_is_made_once_and_opened_again() {
    let root = folder();
    assert!(matches!(Repo::open(root.path()), Err(RepoError::NotFound { .. })));
    drop(Repo::create(root.path()).unwrap());
    let repo = Repo::open(root.path()).unwrap();
    assert_eq!(fs::read_to_string(repo.paths().version()).unwrap(), "18\n");
    assert!(repo.paths().keystore().is_dir());
    assert!(!repo.paths().is_initialized(), "the node has not written its config yet");
    fs::write(repo.paths().config(), "{}").unwrap();
    assert!(repo.paths().is_initialized());
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let root = folder();
    let _first = Repo::create(root.path()).unwrap();
    let error = Repo::open(root.path()).unwrap_err();
    let RepoError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    let pid = format!("(process {})", std::process::id());
    assert!(error.to_string().contains("someone else has the lock") && error.to_string().contains(&pid));
}

#[test]
fn whether_somebody_has_it_can_be_seen_without_taking_it() {
    let root = folder();
    assert!(!RepoPaths::new(root.path()).is_locked(), "there is not even a lock file");
    let repo = Repo::create(root.path()).unwrap();
    assert!(repo.paths().is_locked());
    let paths = repo.paths().clone();
    drop(repo);
    assert!(!paths.is_locked());
}

#[test]
fn a_lock_file_that_a_dead_process_left_does_not_lock() {
    let root = folder();
    drop(Repo::create(root.path()).unwrap());
    fs::write(root.path().join("repo.lock"), "4194304\n").unwrap();
    Repo::open(root.path()).unwrap();
}

#[test]
fn what_a_power_cut_leaves_empty_or_half_written_needs_no_hand() {
    let root = folder();
    drop(Repo::create(root.path()).unwrap());
    for name in ["version", "holdfast-version", "repo.lock", "api", "gateway", "config.77.tmp"] {
        fs::write(root.path().join(name), "").unwrap();
    }
    let repo = Repo::open(root.path()).unwrap();
    assert_eq!(fs::read_to_string(repo.paths().version()).unwrap(), "18\n");
    assert!(!repo.paths().api().exists() && !repo.paths().gateway().exists());
    assert!(!root.path().join("config.77.tmp").exists());
}

#[test]
fn what_a_killed_writer_left_of_a_private_key_goes_when_the_repo_is_opened() {
    let root = folder();
    drop(Repo::create(root.path()).unwrap());
    let left = [".a1B2c3.tmp", ".tmp-a1B2c3", "keystore/.a1B2c3.tmp", "keystore/.tmp-a1B2c3"];
    for name in left {
        fs::write(root.path().join(name), "PrivKey").unwrap();
    }
    fs::write(root.path().join("keystore/key_nmyq"), "key").unwrap();
    drop(Repo::open(root.path()).unwrap());
    for name in left {
        assert!(!root.path().join(name).exists(), "{name}");
    }
    assert!(root.path().join("keystore/key_nmyq").exists());
}

#[test]
fn a_short_change_waits_for_the_one_before_it() {
    let root = folder();
    let first = Repo::create(root.path()).unwrap();
    let refused = Repo::open_within(root.path(), Duration::from_millis(30)).unwrap_err();
    assert!(matches!(refused, RepoError::Locked { pid: Some(_), .. }), "{refused}");
    thread::scope(|scope| {
        let second = scope.spawn(|| Repo::open_within(root.path(), Duration::from_secs(60)).map(drop));
        drop(first);
        second.join().unwrap().unwrap();
    });
}

#[test]
fn a_kubo_repo_is_refused_and_left_as_it_was() {
    for mark in ["datastore_spec", "blocks", "datastore"] {
        let root = folder();
        fs::write(root.path().join("version"), "17\n").unwrap();
        fs::create_dir(root.path().join(mark)).unwrap();
        for result in [Repo::open(root.path()), Repo::create(root.path())] {
            let error = result.unwrap_err();
            assert!(matches!(error, RepoError::KuboRepo { .. }), "{error}");
            assert!(error.to_string().contains("migrate"), "{error}");
        }
        assert_eq!(fs::read_to_string(root.path().join("version")).unwrap(), "17\n");
        assert!(!root.path().join("repo.lock").exists());
    }
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let root = folder();
    drop(Repo::create(root.path()).unwrap());
    fs::write(root.path().join("holdfast-version"), "99\n").unwrap();
    let error = Repo::open(root.path()).unwrap_err();
    assert!(matches!(error, RepoError::NewerFormat { found: 99, known: FORMAT, .. }), "{error}");
    assert_eq!(fs::read_to_string(root.path().join("holdfast-version")).unwrap(), "99\n");
}

#[test]
fn a_durable_write_replaces_the_file_and_leaves_nothing_beside() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = folder();
    let path = root.path().join("file");
    write_durably(&path, b"one", 0o600).unwrap();
    write_durably(&path, b"two", 0o600).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}
