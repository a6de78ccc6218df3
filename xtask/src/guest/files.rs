//! Many small files: make, read back, stat, remove; timed, in one folder for each job.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Which files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Files {
    dir: PathBuf,
    count: u64,
    #[arg(default_value_t = 4096)]
    size: usize,
    /// How many at once, COUNT files each.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Fsync each file before it is closed.
    #[arg(long)]
    sync: bool,
}

impl Files {
    pub(super) fn create(&self) -> Result<()> {
        for job in 0..self.jobs {
            std::fs::create_dir_all(self.folder(job))?;
        }
        self.timed(|this, job, number| {
            let path = this.path(job, number);
            let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
            file.write_all(&this.content(job, number))?;
            if this.sync {
                file.sync_all().with_context(|| format!("fsync {}", path.display()))?;
            }
            // The close is what counts otherwise, and an error of it must not get lost.
            close(file).with_context(|| format!("close {}", path.display()))
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        for job in 0..self.jobs {
            let found = std::fs::read_dir(self.folder(job))?.count();
            if found as u64 != self.count {
                bail!("{}: {found} names, {} wanted", self.folder(job).display(), self.count);
            }
        }
        self.timed(|this, job, number| {
            let mut bytes = Vec::new();
            File::open(this.path(job, number))?.read_to_end(&mut bytes)?;
            if bytes != this.content(job, number) {
                bail!("{} has other bytes than were written", this.path(job, number).display());
            }
            Ok(())
        })
    }

    pub(super) fn stat(&self) -> Result<()> {
        self.timed(|this, job, number| {
            let length = std::fs::metadata(this.path(job, number))?.len();
            if length != this.size as u64 {
                bail!("{} has {length} bytes", this.path(job, number).display());
            }
            Ok(())
        })
    }

    pub(super) fn unlink(&self) -> Result<()> {
        self.timed(|this, job, number| Ok(std::fs::remove_file(this.path(job, number))?))
    }

    fn folder(&self, job: u64) -> PathBuf {
        self.dir.join(format!("job{job}"))
    }

    fn path(&self, job: u64, number: u64) -> PathBuf {
        self.folder(job).join(format!("file-{number:06}"))
    }

    fn content(&self, job: u64, number: u64) -> Vec<u8> {
        let word = format!("{job}/{number}\n");
        word.bytes().cycle().take(self.size).collect()
    }

    /// Does `act` for every file, each job in a thread; prints the seconds it took.
    fn timed(&self, act: impl Fn(&Self, u64, u64) -> Result<()> + Sync) -> Result<()> {
        let started = Instant::now();
        let act = &act;
        std::thread::scope(|scope| {
            let job =
                |job| scope.spawn(move || (0..self.count).try_for_each(|number| act(self, job, number)));
            let running: Vec<_> = (0..self.jobs).map(job).collect();
            running.into_iter().try_for_each(|job| job.join().unwrap_or_else(|_| bail!("a job panicked")))
        })?;
        println!("{:.6}", started.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Closes a file and says what close said.
pub(super) fn close(file: File) -> Result<()> {
    use std::os::fd::IntoRawFd;
    // SAFETY: the descriptor is ours alone (it was just taken out of the File) and is not used
    // again.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}
