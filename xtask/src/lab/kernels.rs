//! The guests' kernels: user-mode Linux of three Debian suites, fetched once into a cache folder.
//!
//! Where Debian is comes from this machine's own apt configuration at run time. Each kernel gets
//! the C library of its own suite, set into a copy of the program, because a newer one does not
//! start with an older library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel the lab knows: the name used on the command line, and the Debian suite it is from.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) name: &'static str,
    suite: &'static str,
}

/// Oldest first.
pub(crate) const RELEASES: [Release; 3] = [
    Release { name: "6.1", suite: "bookworm" },
    Release { name: "6.12", suite: "trixie" },
    Release { name: "7.2", suite: "forky" },
];

/// A kernel that is here and starts.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// The exact version, as `uname -r` says in the guest.
    pub(crate) version: String,
    pub(crate) program: PathBuf,
    /// A folder that holds `lib/modules/VERSION`.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// For a server that is no guest, where no guest is booted.
    pub(crate) fn none() -> Self {
        let nowhere = PathBuf::new;
        Self { name: "none", version: String::new(), program: nowhere(), modules: nowhere() }
    }
}

/// Finds a release by its name.
///
/// # Errors
/// When there is none; the error lists the names.
pub(crate) fn release(name: &str) -> Result<&'static Release> {
    RELEASES.iter().find(|release| release.name == name).with_context(|| {
        format!("no kernel {name:?}: there are {}", RELEASES.map(|release| release.name).join(", "))
    })
}

/// The cache folder: `asked`, or `SHOAL_LAB_CACHE` (clap reads it), or the user's cache folder.
///
/// # Errors
/// When it cannot be made, or neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn cache_folder(asked: Option<&Path>) -> Result<PathBuf> {
    let folder = match (asked, std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(folder), _, _) => folder.to_owned(),
        (None, Some(cache), _) => PathBuf::from(cache).join("shoal-lab"),
        (None, None, Some(home)) => PathBuf::from(home).join(".cache/shoal-lab"),
        (None, None, None) => bail!("no cache folder: give --cache DIR or set HOME"),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.canonicalize()?)
}

/// The kernel of a release, fetched if it is not in the cache yet.
///
/// # Errors
/// When the packages cannot be had, or do not hold what is expected.
pub(crate) fn fetch(cache: &Path, release: &Release) -> Result<Kernel> {
    let home = cache.join(release.name);
    if let Ok(kernel) = open(&home, release) {
        return Ok(kernel);
    }
    println!("fetching the {} kernel (Debian {}, about 40 MB)", release.name, release.suite);
    // Unpacked beside its place and moved there whole, so that a cut-off run leaves nothing that
    // looks finished.
    let building = cache.join(format!("{}.{}", release.name, std::process::id()));
    let built = build(&building, release);
    if built.is_ok() {
        let _ = std::fs::remove_dir_all(&home);
        std::fs::rename(&building, &home)?;
    }
    let _ = std::fs::remove_dir_all(&building);
    built?;
    relocate(&home)?;
    open(&home, release)
}

fn open(home: &Path, release: &Release) -> Result<Kernel> {
    let version = std::fs::read_to_string(home.join("version"))?.trim().to_owned();
    let kernel =
        Kernel { name: release.name, version, program: home.join("linux"), modules: home.join("modules") };
    let tree = kernel.modules.join("lib/modules").join(&kernel.version);
    if !kernel.program.is_file() || !tree.is_dir() {
        bail!("{} holds no kernel", home.display());
    }
    Ok(kernel)
}

fn build(folder: &Path, release: &Release) -> Result<()> {
    let unpacked = folder.join("unpacked");
    std::fs::create_dir_all(&unpacked)?;
    download(folder, release)?;
    for package in files_ending(folder, ".deb")? {
        process::output(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
        std::fs::remove_file(&package)?;
    }
    for extra in ["lists", "cache"] {
        std::fs::remove_dir_all(folder.join(extra))?;
    }
    let source = unpacked.join("usr/lib/uml/modules");
    let version = std::fs::read_dir(&source)
        .with_context(|| format!("the package of {} holds no modules", release.suite))?
        .next()
        .context("an empty modules folder")??
        .file_name();
    let modules = folder.join("modules/lib/modules");
    std::fs::create_dir_all(&modules)?;
    std::fs::rename(source.join(&version), modules.join(&version))?;
    std::fs::copy(unpacked.join("usr/bin/linux.uml"), folder.join("linux"))?;
    // kmod before 30 and after look in lib/ and usr/lib/ of the folder they are given.
    std::os::unix::fs::symlink(".", folder.join("modules/usr"))?;
    std::fs::write(folder.join("version"), version.to_string_lossy().as_bytes())?;
    Ok(())
}

/// Points the program at the C library beside it. Starting it through the loader instead does not
/// work: the break address moves and the kernel panics.
fn relocate(home: &Path) -> Result<()> {
    let candidates = ["usr/lib", "lib"].map(|lib| home.join("unpacked").join(lib).join("x86_64-linux-gnu"));
    let library = candidates
        .iter()
        .find(|folder| folder.join("ld-linux-x86-64.so.2").exists())
        .context("the package libc6 holds no loader")?;
    process::output(
        Command::new("patchelf")
            .arg("--set-interpreter")
            .arg(library.join("ld-linux-x86-64.so.2"))
            .arg("--set-rpath")
            .arg(library)
            .arg(home.join("linux")),
    )
    .map(drop)
}

fn download(folder: &Path, release: &Release) -> Result<()> {
    for sub in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(folder.join(sub))?;
    }
    let list = folder.join("sources.list");
    let source = format!("deb [arch=amd64 signed-by={KEYRING}] {} {} main\n", archive()?, release.suite);
    std::fs::write(&list, source)?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(folder).arg("-q").env("LC_ALL", "C");
        for (key, value) in settings(folder, &list) {
            command.arg("-o").arg(format!("{key}={value}"));
        }
        process::output(command.args(arguments))
    };
    apt(&["update"]).context("cannot read the package lists")?;
    apt(&["download", "user-mode-linux", "libc6"]).context("cannot download the kernel")?;
    std::fs::remove_file(list)?;
    Ok(())
}

fn settings(folder: &Path, list: &Path) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("Dir::Etc::sourcelist", list.display().to_string()),
        ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
        ("Dir::State::Lists", folder.join("lists").display().to_string()),
        ("Dir::Cache", folder.join("cache").display().to_string()),
        // What is installed here must not be the newest of another suite.
        ("Dir::State::status", "/dev/null".to_owned()),
        ("APT::Sandbox::User", "root".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
    ])
}

/// The Debian archive this machine is set up to use.
fn archive() -> Result<String> {
    let targets = process::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(ORIGIN)",
        "Created-By: Packages",
    ]))?;
    let plain = |line: &&str| !line.contains("-security") && !line.contains("-updates");
    let of = |line: &str| line.split(' ').next().map(str::to_owned);
    let debian = targets.lines().filter(plain).find(|line| line.ends_with(" Debian")).or_else(|| {
        // Before the first `apt-get update` no origin is known.
        targets.lines().find(plain)
    });
    debian.and_then(of).context("this machine's apt names no Debian archive: add one to its sources")
}

fn files_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    Ok(found)
}
