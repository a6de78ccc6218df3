//! The boxed future that functions of the traits return.

use std::future::Future;
use std::pin::Pin;

/// A boxed future that may move between threads; what trait objects return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
