//! Opens the store that the settings name: a file, or a database that several nodes share. Never shows a password.

use kenin_certstore::{Server, Store, StoreError};

use crate::config::{Config, ConfigError, StoreAt, StoreServer};
use crate::keyfile;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The settings are wrong, or a file that they name is.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    /// It does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether all is well, and only nobody has made it yet.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Store(StoreError::Absent { .. }))
    }
}

/// Opens it, makes it where it is not there, and brings its schema up to date.
pub(crate) async fn open(config: &Config) -> Result<Store, OpenError> {
    Ok(match &config.store {
        StoreAt::File(path) => Store::open(path).await?,
        StoreAt::Server(at) => Store::connect(&server(config, at)?).await?,
    })
}

/// Opens it to look into it.
pub(crate) async fn open_to_read(config: &Config) -> Result<Store, OpenError> {
    Ok(match &config.store {
        StoreAt::File(path) => Store::open_to_read(path).await?,
        StoreAt::Server(at) => Store::connect_to_read(&server(config, at)?).await?,
    })
}

/// The database, with the password from its file.
fn server(config: &Config, at: &StoreServer) -> Result<Server, ConfigError> {
    let server = Server::new(&at.url).map_err(|text| config.mistake("store.url", text))?;
    let server = server.connections(at.connections);
    let Some(path) = &at.password_file else {
        return Ok(server);
    };
    let key = "store.password_file";
    let bytes = keyfile::read(
        config,
        key,
        path,
        "write the password of the database into it",
    )?;
    // Editors end a file with a line end, which belongs to no password.
    match std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\r', '\n'])) {
        Ok(password) if !password.is_empty() && !password.contains('\n') => {
            Ok(server.password(password))
        }
        _ => {
            let text = format!("{}: holds no password on one line", path.display());
            Err(config.mistake(key, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(folder: &std::path::Path, lines: &str) -> Config {
        let text = format!(
            "hostname = \"gw.example.jp\"\nstate_dir = \"state\"\n\
             [[listener]]\naddress = \"127.0.0.1:10025\"\nmode = \"before-queue\"\n\
             [next_hop]\naddress = \"127.0.0.1:10026\"\n[store]\n{lines}\n"
        );
        Config::parse(&text, &folder.join("kenin.toml")).unwrap()
    }

    #[tokio::test]
    async fn a_password_that_anybody_may_read_is_refused_and_none_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let config = config(
            folder.path(),
            "url = \"postgresql://kenin@127.0.0.1:1/kenin\"\npassword_file = \"password\"",
        );
        let at = match &config.store {
            StoreAt::Server(at) => at,
            StoreAt::File(_) => panic!("a server was written"),
        };
        for (bytes, mode, says) in [
            (&b"s3cret\n"[..], 0o644, "can be read or changed by anybody"),
            (b"", 0o600, "holds no password"),
            (b"s3cret\nmore\n", 0o600, "holds no password"),
            (b"\xff\n", 0o600, "holds no password"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            let error = server(&config, at).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        std::fs::write(&file, "s3cret\n").unwrap();
        let server = server(&config, at).unwrap();
        assert!(!format!("{server:?} {config:?}").contains("s3cret"));
        let error = open(&config).await.unwrap_err();
        assert!(!error.is_absent());
        let text = error.to_string();
        assert!(
            text.starts_with("postgresql://kenin@127.0.0.1:1/kenin: "),
            "{text}"
        );
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[tokio::test]
    async fn a_file_that_nobody_made_is_absent_to_readers() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "");
        assert!(open_to_read(&config).await.unwrap_err().is_absent());
    }
}
