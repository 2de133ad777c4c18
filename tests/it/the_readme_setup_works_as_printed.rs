//! The five-minute set-up of the README, executed as printed: only places change (the folder of the
//! configuration, ports, the Postfix instance).

use std::process::Command;
use std::time::Duration;

use kenin_tests::client::{Client, Envelope};
use kenin_tests::forge::Town;
use kenin_tests::forge::certificates::pem;
use kenin_tests::parts;
use kenin_tests::postfix::Postfix;
use kenin_tests::sink::{Sink, fields};
use kenin_tests::world::{Folder, free_address, run};
use rustix::process::{Pid, Signal, kill_process};

/// The shell block behind a marker.
fn block(text: &str, marker: &str) -> String {
    let at = text
        .find(marker)
        .unwrap_or_else(|| panic!("README.md has no {marker}"));
    let code = text[at..].split("```").nth(1).expect("a fenced block");
    code.strip_prefix("sh\n").expect("a shell block").to_owned()
}

/// Stops what the block left running.
struct Running(std::path::PathBuf);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.0)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn the_block_makes_postfix_stamp_mail() {
    let readme = std::fs::read_to_string(parts::project().join("README.md")).unwrap();
    let printed = block(&readme, "<!-- test: postfix-before-queue -->");
    let town = Town::get();
    let sink = Sink::start();
    let postfix = Postfix::start(sink.address, "");
    let folder = Folder::new();
    std::fs::write(
        folder.join("root.pem"),
        pem("CERTIFICATE", &town.root.certificate),
    )
    .unwrap();
    let issuer = pem("CERTIFICATE", &town.issuer.certificate);
    std::fs::write(folder.join("intermediate.pem"), issuer).unwrap();
    std::fs::write(folder.join("root.crl"), town.root.crl(&[])).unwrap();
    std::fs::write(folder.join("issuer.crl"), town.issuer.crl(&[])).unwrap();

    let etc = folder.join("etc/kenin");
    let places = format!(
        "kenin init postfix --listen {} --next-hop {} --http {} --state-dir {}",
        free_address(),
        free_address(),
        free_address(),
        folder.join("state").display()
    );
    let pid = folder.join("pid");
    let _running = Running(pid.clone());
    let script = printed
        .replace("kenin init postfix", &places)
        .replace("/etc/kenin", &etc.display().to_string())
        .replace(
            " &\n",
            &format!(
                " >{}/log 2>&1 &\necho $! >{}\n",
                folder.path().display(),
                pid.display()
            ),
        );
    let wanted = ["kenin run", "postfix.sh", "kenin health --wait"];
    assert!(wanted.iter().all(|part| script.contains(part)), "{script}");
    // Port 25 is the machine's: the lines are for this Postfix's own port.
    let sh = format!(
        "sed -i 's#smtp/inet#{}/inet#g' {1}/postfix.sh\nsh {1}/postfix.sh",
        postfix.front,
        etc.display()
    );
    let script = script.replace(&format!("sh {}/postfix.sh", etc.display()), &sh);
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(parts::kenin(), bin.join("kenin")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .args(["-euc", &script])
        .current_dir(folder.path())
        .env("PATH", path);
    command
        .env("MAIL_CONFIG", postfix.configuration())
        .env_remove("KENIN_CONFIG");
    run(&mut command);

    postfix.restart();
    let raw = town.clear_signed(&town.bob, "bob@example.jp", "Five minutes");
    let mut client = Client::greeted(postfix.front);
    let envelope = Envelope::new("bob@example.jp", "reader@example.jp");
    let reply = client.mail(&envelope, &raw).unwrap();
    assert_eq!(reply.code, 250, "{}", reply.text());
    let got = sink.wait(1, Duration::from_secs(60)).pop().unwrap();
    let stamp = fields(&got.raw, "Authentication-Results").concat();
    assert!(
        stamp.starts_with("smime.gw.example.jp; smime=pass"),
        "{stamp}"
    );
}
