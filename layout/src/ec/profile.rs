//! Profiles: how many images of a group hold data, and how many parity.
//!
//! A closed list. Two plain copies and a single one are written the same way, `1+1` and `1+0`, so
//! that what keeps track of groups needs no second notion.
//!
//! Spec: docs/formats/group.md §1.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ec::codec_id::CodecId;
use crate::limits::GROUP_IMAGES_MAX;

/// `k+m`: any `k` of the `k + m` images of a group give back all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Profile {
    /// One plain copy: nothing may be lost. For one data server.
    OneCopy,
    /// Two plain copies. For two data servers.
    TwoCopies,
    /// 2+1, from three data servers.
    TwoPlusOne,
    /// 4+2, from six.
    FourPlusTwo,
    /// 6+3, from nine.
    SixPlusThree,
    /// 8+4, from twelve.
    EightPlusFour,
}

/// What was given is no profile. The fault of who configured it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no profile: 1+0, 1+1, 2+1, 4+2, 6+3 and 8+4 are")]
pub struct ProfileError {
    /// What was given.
    pub given: String,
}

impl Profile {
    /// All of them, the one that needs fewest servers first.
    pub const ALL: [Self; 6] = [
        Self::OneCopy,
        Self::TwoCopies,
        Self::TwoPlusOne,
        Self::FourPlusTwo,
        Self::SixPlusThree,
        Self::EightPlusFour,
    ];

    /// The profile of an export that names none: the widest for which there are enough data
    /// servers.
    #[must_use]
    pub fn default_for(data_servers: usize) -> Self {
        let fits = |profile: &Self| profile.images() <= data_servers;
        Self::ALL.into_iter().rev().find(fits).unwrap_or(Self::OneCopy)
    }

    /// `k`: images that hold data.
    #[must_use]
    pub const fn data(self) -> usize {
        match self {
            Self::OneCopy | Self::TwoCopies => 1,
            Self::TwoPlusOne => 2,
            Self::FourPlusTwo => 4,
            Self::SixPlusThree => 6,
            Self::EightPlusFour => 8,
        }
    }

    /// `m`: images that hold parity, or further copies.
    #[must_use]
    pub const fn parity(self) -> usize {
        match self {
            Self::OneCopy => 0,
            Self::TwoCopies | Self::TwoPlusOne => 1,
            Self::FourPlusTwo => 2,
            Self::SixPlusThree => 3,
            Self::EightPlusFour => 4,
        }
    }

    /// `k + m`: images of a full group, each on another data server.
    #[must_use]
    pub const fn images(self) -> usize {
        self.data() + self.parity()
    }

    /// Images, or data servers, that may be lost at once without losing a byte.
    #[must_use]
    pub const fn losses_tolerated(self) -> usize {
        self.parity()
    }

    /// The codec that new groups of this profile are made with.
    #[must_use]
    pub const fn codec(self) -> CodecId {
        match self {
            Self::OneCopy | Self::TwoCopies => CodecId::Copies,
            Self::TwoPlusOne | Self::FourPlusTwo | Self::SixPlusThree | Self::EightPlusFour => {
                CodecId::Leopard16
            }
        }
    }

    /// The profile of these numbers, if there is one.
    #[must_use]
    pub fn of(data: usize, parity: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.data() == data && profile.parity() == parity)
    }
}

const _: () = {
    let mut at = 1;
    while at < Profile::ALL.len() {
        let (one, wider) = (Profile::ALL[at - 1], Profile::ALL[at]);
        assert!(one.images() < wider.images(), "the one that needs fewest servers first");
        assert!(one.parity() <= wider.parity(), "a wider group survives no less");
        at += 1;
    }
    assert!(Profile::ALL[Profile::ALL.len() - 1].images() == GROUP_IMAGES_MAX, "the widest group");
};

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data(), self.parity())
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(given: &str) -> Result<Self, ProfileError> {
        let named = |profile: &Self| profile.to_string() == given;
        Self::ALL.into_iter().find(named).ok_or_else(|| ProfileError { given: given.to_owned() })
    }
}

impl From<Profile> for String {
    fn from(profile: Profile) -> Self {
        profile.to_string()
    }
}

impl TryFrom<String> for Profile {
    type Error = ProfileError;

    fn try_from(given: String) -> Result<Self, ProfileError> {
        given.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_widest_that_fits() {
        let printed = |servers| Profile::default_for(servers).to_string();
        let from: Vec<String> = (0..=13).map(printed).collect();
        let expected = [
            "1+0", "1+0", "1+1", "2+1", "2+1", "2+1", "4+2", "4+2", "4+2", "6+3", "6+3", "6+3", "8+4", "8+4",
        ];
        assert_eq!(from, expected);
    }

    #[test]
    fn what_is_printed_parses() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
            assert_eq!(Profile::of(profile.data(), profile.parity()), Some(profile));
            assert_eq!(String::from(profile).try_into(), Ok(profile));
            assert!(profile.losses_tolerated() == profile.images() - profile.data());
        }
        for wrong in
            ["", "4", "4+", "+2", "4+3", "3+1", " 4+2", "04+2", "4+2+1", "4 + 2", "-4+2", "99999999999+1"]
        {
            assert!(wrong.parse::<Profile>().is_err(), "{wrong:?}");
        }
        assert_eq!(Profile::of(4, 3), None);
        assert_eq!(Profile::of(usize::MAX, 0), None);
    }
}
