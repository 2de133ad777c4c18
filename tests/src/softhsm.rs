//! A token of a test's own: SoftHSM2, whose folder can be pulled out and put back.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::forge::keys::Key;
use crate::parts;
use crate::world::{Folder, run};

/// Its user's PIN.
pub const PIN: &str = "1234";

/// A token with the label `kenin`.
pub struct SoftHsm {
    folder: Folder,
}

impl SoftHsm {
    /// An empty one.
    pub fn new() -> Self {
        let hsm = Self {
            folder: Folder::new(),
        };
        std::fs::create_dir(hsm.tokens()).unwrap();
        let lines = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            hsm.tokens().display()
        );
        std::fs::write(hsm.configuration(), lines).unwrap();
        hsm.tool(&["--init-token", "--free", "--so-pin", "87654321"]);
        hsm
    }

    /// Puts a key into it, with an id and a label.
    pub fn import(&self, key: &Key, id: u8, label: &str) {
        let file = self.folder.join(format!("{id}.pem"));
        crate::world::write_secret(&file, &key.pem());
        let (file, id) = (file.display().to_string(), format!("{id:02x}"));
        self.tool(&["--import", &file, "--id", &id, "--label", label]);
    }

    /// The module through which programs speak with it.
    ///
    /// # Panics
    /// Where it is not installed.
    pub fn module() -> PathBuf {
        let places = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        ];
        let found = places.iter().map(PathBuf::from).find(|path| path.exists());
        found.expect("SoftHSM2 is missing: `tests/run --packages` brings it")
    }

    /// Its table for `kenin.toml`; the PIN is to be written into `hsm.pin` beside that.
    pub fn lines(&self) -> String {
        format!(
            "[[keys.token]]\nname = \"hsm\"\nmodule = \"{}\"\ntoken = \"pkcs11:token=kenin\"\npin_file = \"hsm.pin\"\n",
            Self::module().display()
        )
    }

    /// What a program needs in its environment to find it.
    pub fn environment(&self) -> (&'static str, PathBuf) {
        ("SOFTHSM2_CONF", self.configuration())
    }

    /// Runs a `kenin` command to its end that finds it.
    pub fn kenin(&self, arguments: &[&str]) -> Output {
        let (name, value) = self.environment();
        let mut command = Command::new(parts::kenin());
        command.args(arguments).env_remove("KENIN_CONFIG");
        command.env(name, value).output().unwrap()
    }

    /// Nobody finds it any more.
    pub fn pull_out(&self) {
        std::fs::rename(self.tokens(), self.pulled()).unwrap();
        std::fs::create_dir(self.tokens()).unwrap();
    }

    /// It is there again.
    pub fn put_back(&self) {
        std::fs::remove_dir_all(self.tokens()).unwrap();
        std::fs::rename(self.pulled(), self.tokens()).unwrap();
    }

    fn tool(&self, arguments: &[&str]) {
        let (name, value) = self.environment();
        let mut command = Command::new("softhsm2-util");
        command.args(arguments).args(["--pin", PIN]);
        // A new token gets the label, another is chosen by it.
        command.args(match arguments.contains(&"--init-token") {
            true => ["--label", "kenin"],
            false => ["--token", "kenin"],
        });
        run(command.env(name, value));
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    fn pulled(&self) -> PathBuf {
        self.folder.join("pulled")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}
