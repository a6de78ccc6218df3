//! A report as a picture: for each phase a bar for each server, as long as its median compared with
//! the best one.
//!
//! The picture is plain SVG, so it needs no tool to draw or to read in a review.

use std::fmt::Write;

use super::report::{Report, Series};

const WIDTH: usize = 900;
const LABEL: usize = 250;
const BAR: usize = 15;
const GAP: usize = 16;
const TOP: usize = 64;
const FOOT: usize = 34;
/// Told apart in grey, too.
const COLOURS: [&str; 4] = ["#0b6e99", "#e3a008", "#9aa5b1", "#5b3a8c"];

/// Draws the report.
pub(super) fn draw(report: &Report) -> String {
    let servers = report.servers();
    let phases = report.phases();
    let row = servers.len() * BAR + GAP;
    let height = TOP + phases.len() * row + FOOT;
    let mut svg = String::new();
    let mut put = |line: String| svg.push_str(&line);
    put(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    ));
    let title = format!(
        "Medians of {} rounds, one Linux {} client; longer is better",
        report.rounds, report.client_kernel
    );
    put(text(14, 22, "font-size=\"15\" font-weight=\"bold\"", &title));
    for (number, server) in servers.iter().enumerate() {
        let x = LABEL + number * 130;
        put(format!("<rect x=\"{x}\" y=\"36\" width=\"11\" height=\"11\" fill=\"{}\"/>\n", colour(number)));
        put(text(x + 17, 46, "", server));
    }
    for (number, phase) in phases.iter().enumerate() {
        put(draw_phase(report, &servers, phase, TOP + number * row));
    }
    let foot = format!(
        "{} processors, {} MiB file, {} small files",
        report.processors, report.large_file_mib, report.small_files
    );
    put(text(14, height - 12, "fill=\"#555\"", &foot));
    put("</svg>\n".to_owned());
    svg
}

fn draw_phase(report: &Report, servers: &[&str], phase: &Series, top: usize) -> String {
    let mut svg = String::new();
    let of = |server: &str| report.find(server, &phase.phase).map(|series| series.median());
    let best = servers.iter().filter_map(|server| of(server)).map(|median| median.value).fold(0.0, f64::max);
    let name = format!("{}, {}", phase.phase, phase.unit);
    let middle = top + servers.len() * BAR / 2 + 4;
    svg.push_str(&text(14, middle, "", &name));
    for (number, server) in servers.iter().enumerate() {
        let Some(median) = of(server) else { continue };
        let room = (WIDTH - LABEL - 170) as f64;
        let length = if 0.0 < best { room * median.value / best } else { 0.0 };
        let y = top + number * BAR;
        let colour = colour(number);
        let height = BAR - 3;
        let _ = writeln!(
            svg,
            "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"{height}\" fill=\"{colour}\"/>"
        );
        let label = format!("{:.0}   ({:.1} s CPU)", median.value, median.server_cpu_s);
        svg.push_str(&text(LABEL + length as usize + 6, y + height - 1, "fill=\"#333\"", &label));
    }
    svg
}

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

fn text(x: usize, y: usize, style: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x}\" y=\"{y}\" {style}>{words}</text>\n")
}
