//! `shoal admin verify`: what was answered, as a table or as JSON.

use comfy_table::Table;
use serde::Serialize;
use wire_nfs::control::admin::{
    ExtentState, Holder, HolderState, NamedCode, Verified, VerifiedExtent, VerifiedImage,
};

use super::empty_table::empty_table;
use crate::json;
use crate::output::bytes;

/// One line above the table.
pub(super) fn words(path: &str, file: &Verified) -> String {
    let size = bytes(file.size_bytes);
    if file.inline {
        return format!("{path}: {size}, with the metadata: survives what the metadata servers survive");
    }
    let count = file.extents.len();
    let worst = file.extents.iter().map(|extent| extent.survives).min();
    let survives = match worst {
        None => "nothing written".to_owned(),
        Some(None) => "PART OF IT CANNOT BE READ NOW".to_owned(),
        Some(Some(count)) => format!("survives {count} more losses"),
    };
    let unwell = file.extents.iter().filter(|extent| !extent.whole).count();
    let well = if unwell == 0 {
        "all as it should be".to_owned()
    } else {
        format!("{unwell} not as they should be")
    };
    format!("{path}: {size}, {count} extents, {} copies wished, {survives}, {well}", file.copies)
}

/// One row for each extent.
pub(super) fn table(file: &Verified) -> Table {
    let mut table = empty_table(&[
        "Extent",
        "State",
        "Home",
        "Backups",
        "Code",
        "Group",
        "Images on",
        "Survives",
        "As it should be",
    ]);
    for extent in &file.extents {
        let backups = extent.backups.iter().map(holder).collect::<Vec<_>>().join(", ");
        let image = extent.image.as_ref();
        table.add_row([
            extent.index.to_string(),
            state(extent.state).to_owned(),
            holder(&extent.home),
            backups,
            extent.code.map_or_else(|| "the cluster's".to_owned(), code),
            image.map_or_else(String::new, |image| {
                format!("{} ({}+{})", image.group, image.data, image.parity)
            }),
            image.map_or_else(String::new, images),
            extent.survives.map_or_else(|| "NOT READABLE".to_owned(), |count| count.to_string()),
            if extent.whole { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    table
}

fn state(state: ExtentState) -> &'static str {
    match state {
        ExtentState::Hot => "hot",
        ExtentState::Sealed => "sealed",
        ExtentState::AtRest => "at rest",
    }
}

fn code(code: NamedCode) -> String {
    format!("{}+{}", code.data, code.parity)
}

fn holder(holder: &Holder) -> String {
    let state = match holder.state {
        HolderState::Up => return holder.server.to_string(),
        HolderState::Down => "DOWN",
        HolderState::Filling => "being filled",
        HolderState::Draining => "draining",
    };
    format!("{} ({state})", holder.server)
}

/// The servers of a group by slot; the extent's own image in brackets.
fn images(image: &VerifiedImage) -> String {
    let one = |(slot, at): (u32, &Holder)| match at.server {
        0 => "-".to_owned(),
        _ if slot == image.slot => format!("[{}]", holder(at)),
        _ => holder(at),
    };
    (0..).zip(&image.holders).map(one).collect::<Vec<_>>().join(" ")
}

#[derive(Serialize)]
struct File<'a> {
    path: &'a str,
    size_bytes: u64,
    inline: bool,
    copies: u32,
    extents: Vec<Extent>,
}

#[derive(Serialize)]
struct Extent {
    index: u32,
    state: &'static str,
    epoch: u64,
    home: At,
    backups: Vec<At>,
    /// What it is to be sealed under; null is the cluster's.
    code: Option<String>,
    image: Option<Image>,
    survives: Option<u32>,
    whole: bool,
}

#[derive(Serialize)]
struct At {
    server: u32,
    state: &'static str,
}

#[derive(Serialize)]
struct Image {
    id: String,
    sequence: u64,
    group: u64,
    code: String,
    slot: u32,
    holders: Vec<At>,
}

/// Everything that was answered.
///
/// # Errors
/// None that could be met.
pub(super) fn json(path: &str, file: &Verified) -> serde_json::Result<String> {
    let extents = file.extents.iter().map(extent_of).collect();
    let (size_bytes, inline, copies) = (file.size_bytes, file.inline, file.copies);
    json::document("admin.verify", &File { path, size_bytes, inline, copies, extents })
}

fn at(holder: &Holder) -> At {
    let state = match holder.state {
        HolderState::Up => "up",
        HolderState::Down => "down",
        HolderState::Filling => "filling",
        HolderState::Draining => "draining",
    };
    At { server: holder.server, state }
}

fn extent_of(extent: &VerifiedExtent) -> Extent {
    let image = extent.image.as_ref().map(|image| Image {
        id: image.image.iter().map(|byte| format!("{byte:02x}")).collect(),
        sequence: image.sequence,
        group: image.group,
        code: format!("{}+{}", image.data, image.parity),
        slot: image.slot,
        holders: image.holders.iter().map(at).collect(),
    });
    Extent {
        index: extent.index,
        state: state(extent.state),
        epoch: extent.epoch,
        home: at(&extent.home),
        backups: extent.backups.iter().map(at).collect(),
        code: extent.code.map(code),
        image,
        survives: extent.survives,
        whole: extent.whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_told_with_all_its_holders() {
        let holder = |server, state| Holder { server, state };
        let image = VerifiedImage {
            image: [0xee; 16],
            sequence: 5,
            group: 6,
            data: 2,
            parity: 1,
            slot: 0,
            holders: vec![
                holder(3, HolderState::Up),
                holder(0, HolderState::Up),
                holder(5, HolderState::Down),
            ],
        };
        let extent = VerifiedExtent {
            index: 8,
            state: ExtentState::AtRest,
            epoch: 9,
            home: holder(3, HolderState::Draining),
            backups: vec![holder(4, HolderState::Filling)],
            image: Some(image),
            survives: Some(0),
            whole: false,
            code: Some(NamedCode { data: 8, parity: 4 }),
        };
        let mut file =
            Verified { size_bytes: 1 << 20, copies: 2, extents: vec![extent], ..Verified::default() };
        let text = table(&file).to_string();
        for word in ["at rest", "3 (draining)", "4 (being filled)", "8+4", "6 (2+1)", "[3] - 5 (DOWN)", "NO"]
        {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(words("/a", &file).contains("survives 0 more losses, 1 not as they should be"));
        let json: serde_json::Value = serde_json::from_str(&json("/a", &file).unwrap()).unwrap();
        assert_eq!(json["extents"][0]["image"]["holders"][2]["state"], "down");
        assert_eq!(json["extents"][0]["survives"], 0);
        assert_eq!(json["extents"][0]["code"], "8+4");
        file.extents[0].survives = None;
        assert!(words("/a", &file).contains("CANNOT BE READ"));
        assert!(table(&file).to_string().contains("NOT READABLE"));
    }
}
