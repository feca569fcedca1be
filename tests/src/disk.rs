//! Loop devices and mounts that are undone when dropped.
//!
//! The power-cut stage: an XFS with reflinks, in a file; in it the image of a disk, which is a
//! loop device with an ext4. Copying the image with a reflink takes no time and shows exactly what
//! the device had been given at that moment: what the ext4 still held in memory is not in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs a system tool; the error is what it said.
pub fn tool(name: &str, args: &[&str]) -> Result<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(name)
        .args(args)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    let Output { status, stdout, stderr } = output;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
    } else {
        Err(format!("{name} {}: {}", args.join(" "), String::from_utf8_lossy(&stderr).trim()))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths here are ASCII")
}

/// A file as a mounted file system.
#[derive(Debug)]
pub struct Mount {
    device: String,
    point: PathBuf,
}

impl Mount {
    /// Mounts `image` at `point` (made if need be). With `direct`, the loop device bypasses the
    /// page cache of the file system that holds the image: a write is in the image once the device
    /// has taken it.
    pub fn image(image: &Path, point: &Path, direct: bool) -> Result<Self, String> {
        std::fs::create_dir_all(point).map_err(|error| error.to_string())?;
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        let device = tool("losetup", &[direct, "--show", "-f", text(image)])?;
        match tool("mount", &[&device, text(point)]) {
            Ok(_) => Ok(Self { device, point: point.to_path_buf() }),
            Err(error) => {
                drop(tool("losetup", &["-d", &device]));
                Err(error)
            }
        }
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if tool("umount", &[text(&self.point)]).is_err() {
            // Something in it is still open, after a failed test: detach now, the rest follows.
            drop(tool("umount", &["-l", text(&self.point)]));
        }
        drop(tool("losetup", &["-d", &self.device]));
    }
}

/// A disk that can be cut off: an ext4 image on an XFS with reflinks.
#[derive(Debug)]
pub struct Disk {
    // Dropped in this order: the disk before the file system that holds its image.
    ext4: Mount,
    xfs: Mount,
}

impl Disk {
    /// Makes the whole stage under `dir`, with a disk of `mib` MiB (sparse: only what is written counts).
    pub fn make(dir: &Path, mib: u32) -> Result<Self, String> {
        let outer = dir.join("xfs.img");
        tool("truncate", &["-s", &format!("{}M", u64::from(mib) * 3 + 600), text(&outer)])?;
        tool("mkfs.xfs", &["-q", "-m", "reflink=1", text(&outer)])?;
        let xfs = Mount::image(&outer, &dir.join("xfs"), false)?;
        let image = xfs.point().join("disk.img");
        tool("truncate", &["-s", &format!("{mib}M"), text(&image)])?;
        tool("mkfs.ext4", &["-q", "-F", text(&image)])?;
        let ext4 = Mount::image(&image, &dir.join("disk"), true)?;
        Ok(Self { ext4, xfs })
    }

    /// The disk's folder.
    pub fn point(&self) -> &Path {
        self.ext4.point()
    }

    /// Cuts the power: what the disk had been given at one moment during this call is mounted at
    /// `point`, as after a reboot. The disk itself goes on.
    pub fn cut(&self, point: &Path) -> Result<Cut, String> {
        let image = self.xfs.point().join("disk.img");
        let copy = self.xfs.point().join("cut.img");
        drop(std::fs::remove_file(&copy));
        tool("cp", &["--reflink=always", text(&image), text(&copy)])?;
        let mount = Mount::image(&copy, point, false)?;
        Ok(Cut { mount: Some(mount), copy })
    }
}

/// A disk as it was when the power went.
#[derive(Debug)]
pub struct Cut {
    mount: Option<Mount>,
    copy: PathBuf,
}

impl Cut {
    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        self.mount.as_ref().expect("taken only by drop").point()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.mount = None;
        drop(std::fs::remove_file(&self.copy));
    }
}

/// Why the stage cannot be made on this machine, if it cannot.
pub fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root, for loop devices and mounts".to_owned());
    }
    for name in ["losetup", "mount", "umount", "mkfs.xfs", "mkfs.ext4", "truncate", "cp"] {
        if !crate::need::program(name) {
            return Some(format!("it needs the program {name}"));
        }
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("it needs loop devices (/dev/loop-control)".to_owned());
    }
    None
}
