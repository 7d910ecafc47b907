//! The threads that call the engine, which blocks, and the bounded queue before them.

use crate::config::Limits;
use crate::engine::{Access, Engine};
use crate::exception::{Exception, code};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a thread does with the engine.
pub type Job = Box<dyn FnOnce(&Engine) + Send>;

/// As many threads as there are permits, so that a job with a permit starts at once.
pub struct Pool {
    jobs: mpsc::SyncSender<(Job, Permit)>,
    readers: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    queued: Arc<Semaphore>,
    limits: Limits,
    threads: Vec<JoinHandle<()>>,
    engine: Arc<Engine>,
}

/// The right to one thread.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// Starts the threads.
    pub fn start(engine: Engine, limits: Limits) -> std::io::Result<Self> {
        let engine = Arc::new(engine);
        let count = limits.readers + limits.writers;
        let (jobs, receiver) = mpsc::sync_channel::<(Job, Permit)>(count);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let (engine, receiver) = (Arc::clone(&engine), Arc::clone(&receiver));
            let thread = std::thread::Builder::new().name(format!("engine-{number}"));
            threads.push(thread.spawn(move || {
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((job, permit)) = next else { return };
                    // A thread that died would leave a permit without one.
                    let _ = catch_unwind(AssertUnwindSafe(|| job(&engine)));
                    drop(permit);
                }
            })?);
        }
        Ok(Self {
            jobs,
            readers: Arc::new(Semaphore::new(limits.readers)),
            writers: Arc::new(Semaphore::new(limits.writers)),
            queued: Arc::new(Semaphore::new(limits.queued)),
            limits,
            threads,
            engine,
        })
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits for a thread, for a bounded time and among a bounded number.
    pub async fn permit(&self, access: Access) -> Result<Permit, Exception> {
        let threads = match access {
            Access::Read => &self.readers,
            Access::Write => &self.writers,
        };
        if let Ok(permit) = Arc::clone(threads).try_acquire_owned() {
            return Ok(Permit { _permit: permit });
        }
        let Ok(_place) = Arc::clone(&self.queued).try_acquire_owned() else {
            return Err(busy("too many statements wait already"));
        };
        metrics::gauge!("gokart_warehouse_statements_waiting").increment(1.0);
        let waited =
            tokio::time::timeout(self.limits.queue_wait, Arc::clone(threads).acquire_owned()).await;
        metrics::gauge!("gokart_warehouse_statements_waiting").decrement(1.0);
        match waited {
            Ok(Ok(permit)) => Ok(Permit { _permit: permit }),
            Ok(Err(_)) => Err(busy("the warehouse is stopping")),
            Err(_) => Err(busy("the statements before this one took too long")),
        }
    }

    /// Gives a job to a thread. There is one, because there is a permit.
    pub fn run(&self, permit: Permit, job: Job) -> Result<(), Exception> {
        self.jobs.send((job, permit)).map_err(|_| busy("the warehouse is stopping"))
    }

    /// Ends the threads after what they do now, and closes the engine. `false`: a thread still
    /// works after the time is up.
    pub fn stop(self) -> bool {
        let Self { jobs, threads, engine, limits, .. } = self;
        drop(jobs);
        let (done, all_done) = mpsc::channel();
        std::thread::spawn(move || {
            for thread in threads {
                let _ = thread.join();
            }
            let _ = done.send(());
        });
        if all_done.recv_timeout(limits.drain).is_err() {
            return false;
        }
        Arc::into_inner(engine).map(Engine::stop).is_some()
    }
}

fn busy(why: &str) -> Exception {
    Exception::new(
        code::TOO_MANY_SIMULTANEOUS_QUERIES,
        "TOO_MANY_SIMULTANEOUS_QUERIES",
        &format!("Too many simultaneous queries: {why}; try again"),
    )
}
