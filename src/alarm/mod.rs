//! Alarms about states that need attention. Pure: takes counts and `now`, returns the alarms raised and cleared.
//!
//! [`detect`] holds the state between two looks, [`baseline`] learns the usual traffic of a route, `latch` keeps an alarm from flapping.
//! `docs/alarms.md` lists for each code what raises it and what to do.
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub mod baseline;
pub mod detect;
mod latch;

pub use detect::{Detector, FleetObservation, Observation, RouteObservation, SendingObservation};
pub use latch::CLEAR_AFTER;

/// The kind of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Deliveries died.
    DeadLetters,
    /// The provider has been answered with nothing but failures, and may soon disable the endpoint.
    Failing,
    /// A route gets nothing for longer than it ever did.
    Silent,
    /// The share of requests that verify is well below what it was.
    VerifiedFalling,
    /// Deliveries wait for a route that the config does not have.
    Parked,
    /// Many authentic requests are answered as duplicates.
    ManyDuplicates,
    /// The disk of the store is nearly full.
    DiskNearlyFull,
    /// The store is larger than it should be.
    StoreLarge,
    /// The store does not take what is written.
    StoreFailing,
    /// A damaged store was set aside, and a new one begun.
    StoreSetAside,
    /// No database server can be reached.
    StoreDown,
    /// Commits do not wait for a standby that they should wait for.
    StoreStandbyIgnored,
    /// The store has tables for too few days ahead.
    StoreDays,
    /// Gateways that share the store run different configs.
    StoreConfigsDiffer,
    /// The clock of the machine was set.
    ClockJump,
    /// The gateway has no file descriptors left, so connections wait.
    OutOfFiles,
    /// A certificate has expired, will soon, or is not valid yet.
    CertificateExpiry,
    /// The name of an upstream does not resolve.
    NameUnresolved,
    /// The gateway paused endpoints of customers.
    EndpointsPaused,
    /// Events for endpoints that work have been due for too long.
    OutboundBehind,
}

impl Code {
    /// All of them, in the order of `docs/alarms.md`.
    pub const ALL: &'static [Self] = &[
        Self::DeadLetters,
        Self::Failing,
        Self::Silent,
        Self::VerifiedFalling,
        Self::Parked,
        Self::ManyDuplicates,
        Self::DiskNearlyFull,
        Self::StoreLarge,
        Self::StoreFailing,
        Self::StoreSetAside,
        Self::StoreDown,
        Self::StoreStandbyIgnored,
        Self::StoreDays,
        Self::StoreConfigsDiffer,
        Self::ClockJump,
        Self::OutOfFiles,
        Self::CertificateExpiry,
        Self::NameUnresolved,
        Self::EndpointsPaused,
        Self::OutboundBehind,
    ];

    /// Returns the stable code: the metric label, the log field, and a field of the sent event.
    pub const fn code(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            Self::Failing => "failing",
            Self::Silent => "silent",
            Self::VerifiedFalling => "verified_falling",
            Self::Parked => "parked",
            Self::ManyDuplicates => "many_duplicates",
            Self::DiskNearlyFull => "disk_nearly_full",
            Self::StoreLarge => "store_large",
            Self::StoreFailing => "store_failing",
            Self::StoreSetAside => "store_set_aside",
            Self::StoreDown => "store_down",
            Self::StoreStandbyIgnored => "store_standby_ignored",
            Self::StoreDays => "store_days",
            Self::StoreConfigsDiffer => "store_configs_differ",
            Self::ClockJump => "clock_jump",
            Self::OutOfFiles => "out_of_files",
            Self::CertificateExpiry => "certificate_expiry",
            Self::NameUnresolved => "name_unresolved",
            Self::EndpointsPaused => "endpoints_paused",
            Self::OutboundBehind => "outbound_behind",
        }
    }
}

impl Code {
    /// Returns whether the alarm is about one route. Otherwise it is about the whole gateway.
    pub const fn is_of_route(self) -> bool {
        matches!(
            self,
            Self::DeadLetters
                | Self::Failing
                | Self::Silent
                | Self::VerifiedFalling
                | Self::ManyDuplicates
        )
    }
}

impl Code {
    /// Returns whether all gateways that share a store see the cause, so that one of them is enough to send the alarm.
    pub const fn is_of_fleet(self) -> bool {
        matches!(
            self,
            Self::DeadLetters
                | Self::Parked
                | Self::StoreLarge
                | Self::StoreStandbyIgnored
                | Self::StoreDays
                | Self::StoreConfigsDiffer
                | Self::EndpointsPaused
                | Self::OutboundBehind
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An alarm that is raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The kind of the alarm.
    pub code: Code,
    /// The route; `None`: the whole gateway.
    pub route: Option<Arc<str>>,
    /// Since when it is raised.
    pub since: SystemTime,
    /// In words. No sender has a say in them.
    pub text: String,
    /// Whether its cause has ended, so that it will be cleared.
    pub ending: bool,
}

/// An alarm was raised or cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The alarm that changed.
    pub alarm: Alarm,
    /// Whether it was raised; else it was cleared.
    pub raised: bool,
    /// The time of the change.
    pub at: SystemTime,
}

impl Change {
    /// Returns the type of the event that is sent.
    pub const fn event_type(&self) -> &'static str {
        if self.raised {
            "hookgate.alarm.raised"
        } else {
            "hookgate.alarm.cleared"
        }
    }
}

/// A part of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many hundredths of it.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

impl Share {
    /// Returns the part in bytes of a disk of `total` bytes.
    pub const fn of(self, total: u64) -> u64 {
        match self {
            Self::Percent(percent) => (total / 100).saturating_mul(percent as u64),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The settings of the config that decide when alarms are raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The space that must be free on the disk of the store.
    pub disk_free: Share,
    /// The largest size of the store in bytes.
    pub store_size: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            disk_free: Share::Percent(10),
            store_size: None,
        }
    }
}

/// The rule by which a provider disables an endpoint: so many failures in a row, or failures for so long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisablesAfter {
    /// So many.
    pub failures: Option<u32>,
    /// For so long.
    pub lasting: Option<Duration>,
}
