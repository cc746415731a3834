//! Configuration files of both families: any bytes are read, or refused in one line.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use polybus::config::{Family, Loader};
use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a temporary folder");
}

fuzz_target!(|data: &[u8]| {
    FOLDER.with(|folder| {
        for name in ["polybus.toml", "rpc_config.yml"] {
            fs::write(folder.path().join(name), data).expect("a temporary file");
            load(folder.path());
            fs::remove_file(folder.path().join(name)).expect("a temporary file");
        }
    });
});

fn load(folder: &Path) {
    for family in [Family::Polybus, Family::Prisem] {
        let sources = Loader::new(family).directory(folder).system_file(folder.join("none.toml"));
        match sources.load() {
            Ok(loaded) => {
                let _ = (loaded.effective.to_text(), loaded.effective.to_json().compact());
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains('\n') && error.exit_code() == 78, "{text}");
            }
        }
    }
}
