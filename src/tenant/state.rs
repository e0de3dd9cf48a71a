//! The state of an endpoint.

/// The state of an endpoint, as its row has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointState {
    /// Events are sent to it.
    #[default]
    Active,
    /// A person paused it.
    Paused,
    /// The gateway paused it, because it failed for too long.
    PausedByFailures,
    /// The gateway paused it, because it answered 410.
    PausedByGone,
    /// It was paused, and its waiting events are being sorted out.
    Resuming,
    /// Its events are being ended, before its row is removed.
    Removing,
    /// Nothing is left of it but its number.
    Removed,
}

impl EndpointState {
    /// All states, each at the place of its number.
    pub const ALL: [Self; 7] = [
        Self::Active,
        Self::Paused,
        Self::PausedByFailures,
        Self::PausedByGone,
        Self::Resuming,
        Self::Removing,
        Self::Removed,
    ];

    /// Returns the number of the state in the store.
    pub const fn number(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::Paused => 1,
            Self::PausedByFailures => 2,
            Self::PausedByGone => 3,
            Self::Resuming => 4,
            Self::Removing => 5,
            Self::Removed => 6,
        }
    }

    /// Returns the state with a number of the store.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns the state as JSON and commands write it. Every pause is `paused`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused | Self::PausedByFailures | Self::PausedByGone => "paused",
            Self::Resuming => "resuming",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }

    /// Returns the reason of a pause as JSON writes it; `None` if the endpoint is not paused.
    pub const fn pause_reason(self) -> Option<&'static str> {
        match self {
            Self::Paused => Some("by_hand"),
            Self::PausedByFailures => Some("failing"),
            Self::PausedByGone => Some("gone"),
            Self::Active | Self::Resuming | Self::Removing | Self::Removed => None,
        }
    }

    /// Returns whether the endpoint is paused, for whatever reason.
    pub const fn is_paused(self) -> bool {
        self.pause_reason().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_store() {
        for (number, state) in (0_u8..).zip(EndpointState::ALL) {
            assert_eq!(state.number(), number);
            assert_eq!(EndpointState::from_number(number), Some(state));
            assert_eq!(state.is_paused(), state.word() == "paused");
        }
        assert_eq!(EndpointState::from_number(7), None);
    }
}
