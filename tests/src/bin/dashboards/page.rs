//! One HTML page with inline SVG: near enough to Grafana to judge a dashboard by.

use std::fmt::Write as _;

use redial_tests::grafana::Panel;
use serde_json::Value;

/// A line or bar: its legend and points.
pub type Drawn = (String, Vec<(f64, f64)>);

const COLOURS: [&str; 10] = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#f2495c", "#8ab8ff", "#37872d", "#e0b400", "#705da0"];

/// Pixels of a column and a row of Grafana's grid.
const CELL: (u64, u64) = (56, 34);

#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    pub fn dashboard(&mut self, title: &str) {
        let close = if self.0.is_empty() { "" } else { "</section>" };
        let _ = write!(self.0, "{close}<h1>{}</h1><section>", escaped(title));
    }

    pub fn panel(&mut self, panel: &Panel, drawn: &[Drawn]) {
        let (w, h) = (panel.size.0 * CELL.0 - 8, panel.size.1 * CELL.1 - 8);
        let (title, description) = (escaped(&panel.title), escaped(&panel.description));
        let _ = write!(self.0, "<div class=panel style='width:{w}px;height:{h}px' title='{description}'><h2>{title}</h2>");
        if drawn.iter().all(|(_, points)| points.is_empty()) {
            self.0.push_str("<p class=empty>No data</p>");
        } else {
            match panel.kind.as_str() {
                "timeseries" => self.lines(panel, drawn, (w - 16, h - 80)),
                "stat" => self.numbers(panel, drawn),
                _ => self.bars(panel, drawn),
            }
        }
        self.0.push_str("</div>");
    }

    fn lines(&mut self, panel: &Panel, drawn: &[Drawn], (w, h): (u64, u64)) {
        let points = || drawn.iter().flat_map(|(_, points)| points);
        let bound = |value: fn(&(f64, f64)) -> f64, of: fn(f64, f64) -> f64, start| points().map(value).fold(start, of);
        let (first, last) = (bound(|p| p.0, f64::min, f64::INFINITY), bound(|p| p.0, f64::max, f64::NEG_INFINITY));
        let top = bound(|p| p.1, f64::max, 0.0);
        let scale = if top > 0.0 { top } else { 1.0 };
        let (left, w, h) = (60.0, w as f64 - 60.0, h as f64);
        let _ = write!(self.0, "<svg width='{}' height='{}'>", w + left, h + 12.0);
        for part in [0.0, 0.5, 1.0] {
            let y = 6.0 + h * (1.0 - part);
            let label = value(scale * part, &panel.unit);
            let _ =
                write!(self.0, "<path d='M{left} {y}H{}' class=grid /><text x='{}' y='{}'>{label}</text>", left + w, left - 4.0, y + 3.0);
        }
        for (n, (_, points)) in drawn.iter().enumerate() {
            let mut path = String::new();
            let mut before = f64::NEG_INFINITY;
            for (time, reading) in points {
                let x = left + w * (time - first) / (last - first).max(1.0);
                let y = 6.0 + h * (1.0 - reading / scale);
                let pen = if time - before > 1.5 { 'M' } else { 'L' };
                before = *time;
                // A point on its own is seen as a dot.
                let _ = write!(path, "{pen}{x:.1} {y:.1}{}", if pen == 'M' { "h1" } else { "" });
            }
            let _ = write!(self.0, "<path d='{path}' stroke='{}' fill=none />", COLOURS[n % COLOURS.len()]);
        }
        self.0.push_str("</svg><ul>");
        for (n, (legend, _)) in drawn.iter().enumerate().filter(|(_, (_, points))| !points.is_empty()) {
            let _ = write!(self.0, "<li><i style='background:{}'></i>{}</li>", COLOURS[n % COLOURS.len()], escaped(legend));
        }
        self.0.push_str("</ul>");
    }

    fn numbers(&mut self, panel: &Panel, drawn: &[Drawn]) {
        for (legend, points) in drawn {
            let number = points.last().map_or_else(String::new, |(_, reading)| value(*reading, &panel.unit));
            let named = if drawn.len() > 1 { escaped(legend) } else { String::new() };
            let _ = write!(self.0, "<p class=stat>{number} <small>{named}</small></p>");
        }
    }

    fn bars(&mut self, panel: &Panel, drawn: &[Drawn]) {
        let last = |points: &[(f64, f64)]| points.last().map_or(0.0, |(_, reading)| *reading);
        let top = drawn.iter().map(|(_, points)| last(points)).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        for (n, (legend, points)) in drawn.iter().enumerate() {
            let (share, number) = (100.0 * last(points) / top, value(last(points), &panel.unit));
            let colour = COLOURS[n % COLOURS.len()];
            let legend = escaped(legend);
            let _ = write!(
                self.0,
                "<div class=bar><span>{legend}</span><b><i style='width:{share:.1}%;background:{colour}'></i></b>{number}</div>"
            );
        }
    }

    pub fn finish(self) -> String {
        format!("<!doctype html><meta charset=utf-8><title>Redial dashboards</title><style>{STYLE}</style>{}</section>\n", self.0)
    }
}

const STYLE: &str = "body{background:#111217;color:#ccccdc;font:13px sans-serif;width:1352px}h1{font-size:20px;font-weight:500}
section{display:flex;flex-wrap:wrap;gap:8px}.panel{background:#181b1f;border:1px solid #2c3235;border-radius:3px;padding:6px 8px;box-sizing:border-box;overflow:hidden}
h2{font-size:14px;font-weight:500;margin:0 0 6px}.empty{color:#f2495c}.stat{font-size:26px;color:#73bf69;margin:8px 0}small{font-size:13px;color:#ccccdc}
.grid{stroke:#2c3235}text{fill:#8e8e9a;font-size:10px;text-anchor:end}path{stroke-width:1.4}ul{margin:0;padding:0;list-style:none}li{display:inline-block;margin-right:10px;font-size:11px}
li i{display:inline-block;width:10px;height:3px;margin-right:4px;vertical-align:middle}.bar{display:flex;align-items:center;gap:8px;margin:9px 0}.bar span{width:150px}.bar b{flex:1;background:#22252b;height:18px}
.bar b i{display:block;height:18px}";

/// The legend with the series' labels filled in.
pub fn legend(pattern: &str, labels: &Value) -> String {
    let mut parts = pattern.split("{{");
    let start = parts.next().unwrap_or_default().to_owned();
    parts.fold(start, |text, part| {
        let (label, rest) = part.split_once("}}").unwrap_or((part, ""));
        text + labels[label].as_str().unwrap_or_default() + rest
    })
}

/// As Grafana would write it.
fn value(number: f64, unit: &str) -> String {
    match unit {
        "percentunit" => format!("{:.1} %", number * 100.0),
        "s" if number < 0.001 => format!("{:.0} µs", number * 1e6),
        "s" if number < 1.0 => format!("{:.1} ms", number * 1e3),
        "s" => format!("{number:.1} s"),
        "bytes" => format!("{:.1} MiB", number / f64::from(1 << 20)),
        "reqps" | "ops" | "pps" => format!("{number:.1}/s"),
        _ if number.fract() == 0.0 => format!("{number:.0}"),
        _ => format!("{number:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&#39;")
}
