//! The sending side of the demo: one mail, one SMTP session, the mail exactly as given.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Sends a mail and gives the answer to its dot, or the first answer that is a refusal.
pub async fn send(
    to: SocketAddr,
    mail_from: &str,
    rcpt_to: &[&str],
    mail: &[u8],
) -> io::Result<String> {
    let stream = TcpStream::connect(to).await?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut commands = vec![String::from("EHLO client.demo.invalid\r\n")];
    commands.push(format!(
        "MAIL FROM:{mail_from} BODY=8BITMIME SIZE={}\r\n",
        mail.len()
    ));
    commands.extend(rcpt_to.iter().map(|to| format!("RCPT TO:{to}\r\n")));
    commands.push(String::from("DATA\r\n"));
    let greeting = reply(&mut read).await?;
    if !greeting.starts_with('2') {
        return Ok(greeting);
    }
    for command in commands {
        write.write_all(command.as_bytes()).await?;
        let answer = reply(&mut read).await?;
        if !answer.starts_with(['2', '3']) {
            return Ok(answer);
        }
    }
    write.write_all(&stuffed(mail)).await?;
    let answer = reply(&mut read).await?;
    write.write_all(b"QUIT\r\n").await?;
    Ok(answer)
}

/// A whole reply: all its lines, joined.
async fn reply<R: AsyncBufRead + Unpin>(read: &mut R) -> io::Result<String> {
    let mut text = String::new();
    for _ in 0..MAX_LINES {
        let mut line = String::new();
        if read.take(MAX_LINE).read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(line.trim_end());
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(text);
        }
        text.push('\n');
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The mail with dots doubled and its end.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len().saturating_add(64));
    for line in mail.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

const MAX_LINE: u64 = 4096;
const MAX_LINES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_a_dot() {
        assert_eq!(stuffed(b".a\r\nb\r\n"), b"..a\r\nb\r\n.\r\n");
        assert_eq!(stuffed(b"b"), b"b\r\n.\r\n");
    }
}
