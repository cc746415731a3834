//! A proxy that changes words on their way, to others of the same length.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::Error;

/// Stands in front of a server and changes what the server says. It ends with the process.
#[derive(Debug)]
pub struct Mirror {
    address: SocketAddr,
}

impl Mirror {
    /// In front of `server`, with `to` for each `from`.
    ///
    /// # Errors
    /// If there is no port for it, or the two differ in length.
    pub fn new(server: &str, from: &str, to: &str) -> Result<Self, Error> {
        if from.len() != to.len() || from.is_empty() {
            return Err("words are changed to others of the same length".into());
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (server, from, to) = (server.to_owned(), from.as_bytes().to_vec(), to.as_bytes().to_vec());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(behind) = TcpStream::connect(&server) else { continue };
                let (from, to) = (from.clone(), to.clone());
                if let (Ok(client_too), Ok(behind_too)) = (client.try_clone(), behind.try_clone()) {
                    thread::spawn(move || carry(client, behind, &[], &[]));
                    thread::spawn(move || carry(behind_too, client_too, &from, &to));
                }
            }
        });
        Ok(Self { address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

/// What is split between two reads is not changed; answers of the servers under test are sent whole.
fn carry(mut from: TcpStream, mut to: TcpStream, word: &[u8], other: &[u8]) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let mut at = 0;
        while !word.is_empty() && at + word.len() <= read {
            if buffer[at..at + word.len()] == *word {
                buffer[at..at + word.len()].copy_from_slice(other);
            }
            at += 1;
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other direction ends by itself.
    let _ = to.shutdown(Shutdown::Both);
}
