//! What the edge says of a connection while it hands one in: for which mail it is.

use super::Transaction;
use crate::octets::Malformed;

/// For which mails keys work over a connection. The edge says it to the key process; whoever has the other end does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// For this one, which whoever has the connection has in hand.
    One(Transaction),
    /// For all: the connection is the edge's own.
    All,
}

impl Reach {
    /// How many octets it has.
    pub const LEN: usize = 17;

    /// Whether keys work for this mail.
    #[must_use]
    pub fn has(self, transaction: Transaction) -> bool {
        match self {
            Self::One(own) => own == transaction,
            Self::All => true,
        }
    }

    /// The octets.
    #[must_use]
    pub const fn to_octets(self) -> [u8; Self::LEN] {
        let mut octets = [0; Self::LEN];
        if let Self::One(own) = self {
            let [kind, rest @ ..] = &mut octets;
            *kind = ONE;
            *rest = *own.octets();
        }
        octets
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_octets(octets: [u8; Self::LEN]) -> Result<Self, Malformed> {
        match octets {
            [ONE, own @ ..] => Ok(Self::One(Transaction::from_octets(own))),
            octets if octets == Self::All.to_octets() => Ok(Self::All),
            _ => Err(Malformed("a connection for nobody")),
        }
    }
}

/// In front of the transaction of a single mail.
const ONE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_reads_as_it_was_written_and_what_is_none_does_not_read() {
        let mail = Transaction::from_octets([7; 16]);
        let nobodys = Transaction::from_octets([0; 16]);
        for reach in [Reach::One(mail), Reach::One(nobodys), Reach::All] {
            assert_eq!(Reach::from_octets(reach.to_octets()), Ok(reach));
        }
        assert!(Reach::One(mail).has(mail) && Reach::All.has(mail));
        // None of them is taken for that of all.
        assert!(!Reach::One(nobodys).has(mail) && !Reach::One(mail).has(nobodys));
        let mut octets = Reach::One(mail).to_octets();
        for kind in [0, 2, 255] {
            octets[0] = kind;
            assert!(Reach::from_octets(octets).is_err(), "{kind}");
        }
    }
}
