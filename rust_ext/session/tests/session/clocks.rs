//! Clocks: time decides nothing about partitions, workers and tasks outside the core, where it is an argument.

use std::{collections::BTreeMap, fs, path::Path};

/// The files of the driver that may know a clock, with the reason.
const MAY_KNOW_A_CLOCK: [(&str, &str); 7] = [
    ("clock.rs", "tells the core the time"),
    ("drops.rs", "gathers drops into batches"),
    ("link.rs", "time-outs of calls, pauses between tries"),
    ("link/calls.rs", "pauses between tries"),
    ("link/poll.rs", "pauses between tries"),
    ("link/requests.rs", "time-outs of calls, pauses between tries"),
    ("link/submit.rs", "time-outs of calls, pauses between tries"),
];

const WORDS: [&str; 6] = ["Instant", "SystemTime", "sleep", "elapsed", "timeout_at", "interval"];

fn read_all(folder: &Path, prefix: &str, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read_all(&path, &format!("{name}/"), texts);
        } else {
            texts.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn only_calls_and_the_clock_of_the_driver_know_the_time() {
    let mut texts = BTreeMap::new();
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/driver"), "", &mut texts);
    assert!(texts.len() > 10, "the driver is not where it is looked for");
    let code = |text: &str| text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>();
    let knows_a_clock = |text: &String| WORDS.iter().any(|word| code(text).contains(word));
    let found: Vec<&str> =
        texts.iter().filter(|(_, text)| knows_a_clock(text)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, MAY_KNOW_A_CLOCK.map(|(name, _)| name));
}
