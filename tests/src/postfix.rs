//! A real Postfix of its own: own configuration, queue and log, no port that anybody uses, started
//! and stopped here. Needs root, as Postfix does.

use std::net::SocketAddr;
use std::process::Command;

use crate::world::{Folder, files, free_address, listens, run, wait_for};

/// One instance.
pub struct Postfix {
    /// Where it takes mail.
    pub front: SocketAddr,
    folder: Folder,
}

impl Postfix {
    /// One that relays everything to a sink. `main` is more lines for main.cf.
    pub fn start(sink: SocketAddr, main: &str) -> Self {
        let root = rustix::process::geteuid().is_root();
        assert!(
            root,
            "Postfix has to be started by root: run the tests as root"
        );
        let folder = Folder::new();
        let front = free_address();
        for name in ["etc", "queue", "data"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        run(Command::new("chown")
            .arg("postfix")
            .arg(folder.join("data")));
        let dir = folder.path().display();
        let text = format!(
            "compatibility_level = 3.6\nqueue_directory = {dir}/queue\ndata_directory = {dir}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             mail_owner = postfix\nsetgid_group = postdrop\n\
             myhostname = mx.example.jp\nmydomain = example.jp\nmyorigin = example.jp\nmydestination =\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
             alias_maps =\nalias_database =\nlocal_recipient_maps =\n\
             disable_dns_lookups = yes\nsmtp_host_lookup = native\nsmtp_tls_security_level = none\n\
             maillog_file = {dir}/mail.log\nmaillog_file_prefixes = {dir}\n\
             queue_run_delay = 1s\nminimal_backoff_time = 3s\nmaximal_backoff_time = 3s\n\
             transport_retry_time = 1s\n\
             default_destination_concurrency_failed_cohort_limit = 100\n\
             default_transport = smtp:[127.0.0.1]:{}\nrelay_transport = $default_transport\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\n\
             smtpd_client_connection_count_limit = 0\nmessage_size_limit = 104857600\n\
             smtpd_error_sleep_time = 0\nnotify_classes =\n{main}\n",
            sink.port()
        );
        std::fs::write(folder.join("etc/main.cf"), text).unwrap();
        let mut master = format!("{front} inet n - n - - smtpd\n");
        for line in [
            "pickup unix n - n 60 1 pickup",
            "cleanup unix n - n - 0 cleanup",
            // Woken every second, not every 300: a mail whose next try finds it locked by the last one
            // goes to the incoming queue for 60 s, which is looked at when new mail comes or at a wake-up.
            // (A back-off of 1 s is none to the queue manager, and makes such a meeting likely.)
            "qmgr unix n - n 1 1 qmgr",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "verify unix - - n - 1 verify",
            "flush unix n - n 1000? 0 flush",
            "proxymap unix - - n - - proxymap",
            "proxywrite unix - - n - 1 proxymap",
            "smtp unix - - n - - smtp",
            "relay unix - - n - - smtp",
            "showq unix n - n - - showq",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "discard unix - - n - - discard",
            "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache",
            "postlog unix-dgram n - n - 1 postlogd",
        ] {
            master.push_str(line);
            master.push('\n');
        }
        std::fs::write(folder.join("etc/master.cf"), master).unwrap();
        let postfix = Self { front, folder };
        postfix.command("start");
        wait_for("Postfix listens", || listens(front));
        postfix
    }

    fn command(&self, verb: &str) {
        run(Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(self.folder.join("etc"))
            .arg(verb));
    }

    /// Executes shell lines as an admin would, on this instance instead of the machine's own: its
    /// front service stands where port 25 would.
    pub fn execute(&self, lines: &str) {
        let lines = lines.replace("smtp/inet", &format!("{}/inet", self.front));
        let mut command = Command::new("bash");
        command
            .args(["-euc", &lines])
            .env("MAIL_CONFIG", self.folder.join("etc"));
        run(&mut command);
        self.restart();
    }

    /// Stops and starts it: after a mere reload a process that was idle may take one more client
    /// under the old configuration.
    pub fn restart(&self) {
        self.command("stop");
        self.command("start");
        wait_for("Postfix listens", || listens(self.front));
    }

    /// The folder of its configuration, for `MAIL_CONFIG`.
    pub fn configuration(&self) -> std::path::PathBuf {
        self.folder.join("etc")
    }

    /// Its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("mail.log")).unwrap_or_default())
            .into_owned()
    }

    /// How many mails are in its queue.
    pub fn queued(&self) -> usize {
        let count = |name: &str| files(&self.folder.join("queue").join(name)).len();
        ["incoming", "active", "deferred", "maildrop"]
            .iter()
            .map(|name| count(name))
            .sum()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // By its own means; a test that panics must not panic again here.
        let _ = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(self.folder.join("etc"))
            .arg("stop")
            .output();
    }
}
