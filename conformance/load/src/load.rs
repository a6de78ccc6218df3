//! The whole: sessions, directories, files by number, and acts on all of them.
//!
//! File `n` is in directory `n` modulo their number. Sessions take the next number as soon as they
//! are free.
//!
//! INVARIANT: the files that there are have the numbers below `made`: a number that was taken is
//! carried out.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use env::Env;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use wire_nfs::v4::Filehandle;

use crate::act::{self, Act};
use crate::error::LoadError;
use crate::limits::{DIRECTORIES_MAX, FILES_MAX, SESSIONS_MAX};
use crate::measure::Measured;
use crate::session::Session;

/// What a load is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Addresses of the server; the first that serves clients is taken.
    pub servers: Vec<SocketAddr>,
    /// Sessions, each of a client of its own.
    pub sessions: usize,
    /// Directories, at the root.
    pub directories: u64,
    /// Files, over all directories.
    pub files: u64,
    /// Making files, and looking them up, ends after this time if there is one, in milliseconds.
    /// Lookups go round until then.
    pub act_ms: Option<u64>,
}

/// A load under way.
pub struct Load {
    env: Env,
    plan: Plan,
    sessions: Vec<Arc<Session>>,
    /// By number.
    directories: Mutex<Vec<Filehandle>>,
    made: AtomicU64,
    progress: Arc<AtomicU64>,
}

/// What one request came to.
struct Once {
    done: u64,
    took_ns: u64,
}

/// A multiplier that visits files in an order of no pattern: a prime larger than any number of
/// files that divides it.
const STRIDE: u128 = 2_654_435_761;

fn directory_name(number: u64) -> Bytes {
    Bytes::from(format!("d{number:06}"))
}

fn file_name(number: u64) -> Bytes {
    Bytes::from(format!("file-{number:08}"))
}

impl Load {
    /// Makes the sessions.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn begin(env: Env, plan: Plan) -> Result<Arc<Self>, LoadError> {
        if plan.sessions == 0 || SESSIONS_MAX < plan.sessions {
            return Err(LoadError::Plan("number of sessions"));
        }
        if plan.directories == 0 || DIRECTORIES_MAX < plan.directories || FILES_MAX < plan.files {
            return Err(LoadError::Plan("number of directories or files"));
        }
        let mut sessions = Vec::with_capacity(plan.sessions);
        for number in 0..plan.sessions {
            let session = Arc::new(Session::open(&env, &plan.servers, number).await?);
            let kept = Arc::clone(&session);
            tokio::spawn(async move {
                // A session that is lost makes its next request fail, which is told there.
                let _ = kept.keep().await;
            });
            sessions.push(session);
        }
        Ok(Arc::new(Self {
            env,
            plan,
            sessions,
            directories: Mutex::new(Vec::new()),
            made: AtomicU64::new(0),
            progress: Arc::new(AtomicU64::new(0)),
        }))
    }

    /// Files or entries of the current phase so far, for a progress line.
    #[must_use]
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Carries an act out on all files or directories.
    ///
    /// # Errors
    /// See [`LoadError`]: the first answer that is not as it should be.
    pub async fn run(self: &Arc<Self>, act: Act) -> Result<Measured, LoadError> {
        self.progress.store(0, Ordering::Relaxed);
        let (directories, made) = (self.plan.directories, self.made.load(Ordering::Relaxed));
        let limit_ns = self.plan.act_ms.map(|ms| ms * 1_000_000);
        let measured = match act {
            Act::Mkdir => {
                let empty = Filehandle::new(Bytes::new()).map_err(|_| LoadError::Plan("an empty handle"))?;
                *self.directories.lock() = vec![empty; as_usize(directories)];
                self.each(act, directories, None, Self::mkdir).await?
            }
            Act::Create => {
                self.made.store(0, Ordering::Relaxed);
                let measured = self.each(act, self.plan.files, limit_ns, Self::create).await?;
                self.made.store(measured.done, Ordering::Relaxed);
                measured
            }
            Act::Stat if made == 0 => return Err(LoadError::Plan("stat before create")),
            Act::Stat => {
                let count = if limit_ns.is_some() { u64::MAX } else { made };
                self.each(act, count, limit_ns, Self::stat).await?
            }
            Act::List => {
                let measured = self.each(act, directories, None, Self::list).await?;
                if measured.done != made {
                    let listed = measured.done;
                    return Err(LoadError::Wrong(format!("{listed} entries were listed, {made} are there")));
                }
                measured
            }
            Act::Remove => {
                let measured = self.each(act, made, None, Self::remove).await?;
                self.made.store(0, Ordering::Relaxed);
                measured
            }
            Act::Rmdir => self.each(act, directories, None, Self::rmdir).await?,
        };
        Ok(measured)
    }

    /// Has all sessions do something with the numbers up to `count`, until they are through or the
    /// time is over.
    async fn each<J, F>(
        self: &Arc<Self>,
        act: Act,
        count: u64,
        limit_ns: Option<u64>,
        job: J,
    ) -> Result<Measured, LoadError>
    where
        J: Fn(Arc<Self>, Arc<Session>, u64) -> F + Copy + Send + 'static,
        F: Future<Output = Result<Once, LoadError>> + Send,
    {
        let began_ns = self.env.clock.monotonic_ns();
        let next = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for session in &self.sessions {
            let (load, session, next) = (Arc::clone(self), Arc::clone(session), Arc::clone(&next));
            workers.spawn(async move {
                let (mut done, mut took_ns) = (0, Vec::new());
                loop {
                    let elapsed_ns = load.env.clock.monotonic_ns() - began_ns;
                    if limit_ns.is_some_and(|limit_ns| limit_ns <= elapsed_ns) {
                        break;
                    }
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if count <= number {
                        break;
                    }
                    let once = job(Arc::clone(&load), Arc::clone(&session), number).await?;
                    load.progress.fetch_add(once.done, Ordering::Relaxed);
                    done += once.done;
                    took_ns.push(once.took_ns);
                }
                Ok::<_, LoadError>((done, took_ns))
            });
        }
        let (mut done, mut took_ns) = (0, Vec::new());
        while let Some(worker) = workers.join_next().await {
            let (more, times) = worker.map_err(|error| LoadError::Wrong(error.to_string()))??;
            done += more;
            took_ns.extend(times);
        }
        Ok(Measured::new(act.name(), done, self.env.clock.monotonic_ns() - began_ns, took_ns))
    }

    fn directory_of(&self, file: u64) -> Result<Filehandle, LoadError> {
        let number = as_usize(file % self.plan.directories);
        let directories = self.directories.lock();
        directories.get(number).cloned().ok_or(LoadError::Plan("files before directories"))
    }

    fn took(&self, began_ns: u64, done: u64) -> Once {
        Once { done, took_ns: self.env.clock.monotonic_ns() - began_ns }
    }

    async fn mkdir(self: Arc<Self>, session: Arc<Session>, number: u64) -> Result<Once, LoadError> {
        let began_ns = self.env.clock.monotonic_ns();
        let handle = act::mkdir(&session, directory_name(number)).await?;
        self.directories.lock()[as_usize(number)] = handle;
        Ok(self.took(began_ns, 1))
    }

    async fn create(self: Arc<Self>, session: Arc<Session>, number: u64) -> Result<Once, LoadError> {
        let directory = self.directory_of(number)?;
        let began_ns = self.env.clock.monotonic_ns();
        let opened = act::open(&session, &directory, file_name(number)).await?;
        let once = self.took(began_ns, 1);
        act::close(&session, opened).await?;
        Ok(once)
    }

    async fn stat(self: Arc<Self>, session: Arc<Session>, number: u64) -> Result<Once, LoadError> {
        let made = u128::from(self.made.load(Ordering::Relaxed));
        let file = u64::try_from(u128::from(number) * STRIDE % made).expect("below a u64");
        let directory = self.directory_of(file)?;
        let began_ns = self.env.clock.monotonic_ns();
        act::stat(&session, &directory, file_name(file)).await?;
        Ok(self.took(began_ns, 1))
    }

    async fn list(self: Arc<Self>, session: Arc<Session>, number: u64) -> Result<Once, LoadError> {
        let directory = self.directory_of(number)?;
        let began_ns = self.env.clock.monotonic_ns();
        let entries = act::list(&session, &directory).await?;
        Ok(self.took(began_ns, entries))
    }

    async fn remove(self: Arc<Self>, session: Arc<Session>, number: u64) -> Result<Once, LoadError> {
        let directory = self.directory_of(number)?;
        let began_ns = self.env.clock.monotonic_ns();
        act::remove(&session, Some(&directory), file_name(number)).await?;
        Ok(self.took(began_ns, 1))
    }

    async fn rmdir(self: Arc<Self>, session: Arc<Session>, number: u64) -> Result<Once, LoadError> {
        let began_ns = self.env.clock.monotonic_ns();
        act::remove(&session, None, directory_name(number)).await?;
        Ok(self.took(began_ns, 1))
    }
}

fn as_usize(number: u64) -> usize {
    usize::try_from(number).expect("bounded by the plan")
}
