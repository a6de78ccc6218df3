//! `shoal admin`: asks the metrics port of a running metadata server and prints tables or JSON; has
//! the control port do something.

mod act;
mod ds;
mod empty_table;
mod exports;
mod follow;
mod get;
mod key;
mod outcome;
mod readmit;
mod rotate;
mod rotate_cluster;
mod status;
mod verify;

#[cfg(test)]
mod golden;

use comfy_table::{CellAlignment, Table};
use mds_server::report::{DataServerLine, ExportLine, Health, Status};
use serde::Serialize;
use wire_nfs::control::admin::{Route, Ruling};

use self::empty_table::empty_table;
use self::outcome::{Done, Moved, heed};
use crate::args::{Admin, AdminCommand, AdminDs, AdminExports, AdminKey, AdminMds, AdminRotate};
use crate::json;
use crate::output::{bytes, print};

/// Runs the command.
///
/// # Errors
/// If the server cannot be reached, or answers something else; if it is refused; if the cluster is
/// not healthy.
pub(crate) async fn run_command(admin: Admin) -> anyhow::Result<()> {
    match &admin.what {
        AdminCommand::Status(asked) => status::print_status(&admin, asked).await,
        AdminCommand::Health => health(&admin),
        AdminCommand::Exports { what: None | Some(AdminExports::List) } => {
            let exports: Vec<ExportLine> = get::json(admin.at, "/exports")?;
            match admin.json {
                true => print(json::document("admin.exports", &Exports { exports: &exports })?),
                false => {
                    print(exports::table(&exports))?;
                    exports::words(&exports).map_or(Ok(()), print)
                }
            }
        }
        AdminCommand::Exports { what: Some(AdminExports::Set { config, if_version }) } => {
            exports::set(&admin, config, *if_version).await
        }
        AdminCommand::Ds(AdminDs::List) => {
            let servers: Vec<DataServerLine> = get::json(admin.at, "/ds")?;
            match admin.json {
                true => print(json::document("admin.ds.list", &DataServers { data_servers: &servers })?),
                false => print(ds::table(&servers)),
            }
        }
        AdminCommand::Ds(AdminDs::Drain { id }) => act::drain(&admin, *id, true).await,
        AdminCommand::Ds(AdminDs::Undrain { id }) => act::drain(&admin, *id, false).await,
        AdminCommand::Ds(AdminDs::Remove { id }) => act::remove(&admin, *id).await,
        AdminCommand::Mds(AdminMds::Readmit { id }) => readmit::readmit_server(&admin, *id).await,
        AdminCommand::Key(AdminKey::Derive { role, name, out }) => {
            key::write_key(&admin, *role, name.as_deref(), out)
        }
        AdminCommand::Key(AdminKey::Show) => key::show(&admin),
        AdminCommand::Key(AdminKey::Rotate(AdminRotate::Handles)) => rotate::rotate_handles(&admin).await,
        AdminCommand::Key(AdminKey::Rotate(AdminRotate::Cluster { step })) => {
            rotate_cluster::rotate_cluster_key(&admin, *step)
        }
        AdminCommand::Rebalance { dry_run } => rebalance(&admin, *dry_run).await,
        AdminCommand::Verify { path } => {
            let file = act::verify(&admin, path).await?;
            if admin.json {
                return print(verify::json(path, &file)?);
            }
            print(verify::words(path, &file))?;
            print(verify::table(&file))
        }
    }
}

/// A list as a document has it.
#[derive(Serialize)]
struct Exports<'a> {
    exports: &'a [ExportLine],
}

/// A list as a document has it.
#[derive(Serialize)]
struct DataServers<'a> {
    data_servers: &'a [DataServerLine],
}

/// Prints whether everything is as promised.
///
/// # Errors
/// If it is not, after what is not was printed; if that cannot be told.
fn health(admin: &Admin) -> anyhow::Result<()> {
    let health = Health::of(&get::json::<Status>(admin.at, "/status")?);
    match admin.json {
        true => print(json::document("admin.health", &health)?)?,
        false if health.ok => print("ok")?,
        false => health.problems.iter().try_for_each(|problem| print(&problem.text))?,
    }
    if !health.ok {
        anyhow::bail!("not healthy: {} problems", health.problems.len());
    }
    Ok(())
}

async fn rebalance(admin: &Admin, dry_run: bool) -> anyhow::Result<()> {
    let answer = act::rebalance(admin, dry_run).await?;
    let ruling = Ruling { done: answer.done, words: answer.words };
    let route =
        |&Route { from, to, images, extents, bytes }: &Route| Moved { from, to, images, extents, bytes };
    let routes = Some(answer.routes.iter().map(route).collect());
    heed(admin, "admin.rebalance", &Done { routes, ..Done::of(&ruling) })?;
    if !admin.json && !answer.routes.is_empty() {
        print(moves(&answer.routes))?;
    }
    Ok(())
}

/// What would be moved.
fn moves(routes: &[Route]) -> Table {
    let mut table = empty_table(&["From", "To", "Images", "Extents", "Bytes"]);
    for Route { from, to, images, extents, bytes: moved } in routes {
        let cells =
            [from.to_string(), to.to_string(), images.to_string(), extents.to_string(), bytes(*moved)];
        table.add_row(cells);
    }
    for at in 0..5 {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_is_a_row_each() {
        let text = moves(&[Route { from: 1, to: 7, images: 2, extents: 0, bytes: 1 << 20 }]).to_string();
        assert!(text.contains("1.0 MiB") && text.contains('7'), "{text}");
    }
}
