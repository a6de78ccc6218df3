//! Access to this project's servers, for scenarios that only ours can play.

use anyhow::{Result, bail};

use super::Server;
use super::replicas::Replicas;
use super::shoal::Shoal;

/// Our own server, which has processes to choose from.
pub(in crate::lab) fn shoal(server: &mut Server) -> Result<&mut Shoal> {
    match server {
        Server::Shoal(shoal) => Ok(shoal),
        _ => bail!("this server has no processes to choose from"),
    }
}

/// Our own server, which has replicas of its metadata.
pub(in crate::lab) fn replicas(server: &mut Server) -> Result<&mut Replicas> {
    match server {
        Server::Replicas(replicas) => Ok(replicas),
        _ => bail!("this server has no replicas"),
    }
}
