//! A call of a function of the schema: its name, and its parameters with the types that the server has for them.
//!
//! The types are sent with the call, so that it takes one round trip and leaves no prepared statement behind: each pooler can pass it on.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::text::storable;

/// A parameter of a call, and its type.
type Typed = (Arc<dyn ToSql + Send + Sync>, Type);

/// A call of a function of the schema. It can be made again: a copy shares the parameters.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The function's name, without the schema.
    pub(super) function: &'static str,
    /// Whether it may change something: if its answer is lost, it is unknown whether it was done.
    pub(super) writes: bool,
    /// The parameters, in the function's order.
    pub(super) parameters: Vec<Typed>,
    /// Bytes of bodies that it sends, for which it may take longer.
    pub(super) bytes: usize,
}

impl Call {
    /// A call that changes nothing.
    pub(super) fn look(function: &'static str) -> Self {
        Self {
            function,
            writes: false,
            parameters: Vec::new(),
            bytes: 0,
        }
    }

    /// A call that may change something.
    pub(super) fn write(function: &'static str) -> Self {
        Self {
            writes: true,
            ..Self::look(function)
        }
    }

    /// Adds the next parameter.
    pub(super) fn with<T: Parameter + 'static>(mut self, value: T) -> Self {
        self.parameters.push((Arc::new(value), T::sql_type()));
        self
    }

    /// Returns the statement: `select * from "schema".function($1, …)`.
    pub(super) fn statement(&self, schema: &str) -> String {
        let parameters: Vec<_> = (1..=self.parameters.len())
            .map(|number| format!("${number}"))
            .collect();
        format!(
            "select * from \"{schema}\".{}({})",
            self.function,
            parameters.join(", ")
        )
    }
}

/// A value that can be a parameter.
pub(super) trait Parameter: ToSql + Send + Sync {
    /// Returns its type in the signatures of the functions.
    fn sql_type() -> Type;
}

/// A value that can be an element of an array.
pub(super) trait Element: ToSql + Send + Sync {
    /// Returns the type of an array of such values.
    fn array_type() -> Type;
}

macro_rules! parameters {
    ($($rust:ty: $one:ident, $many:ident;)*) => {$(
        impl Parameter for $rust {
            fn sql_type() -> Type {
                Type::$one
            }
        }

        impl Parameter for Option<$rust> {
            fn sql_type() -> Type {
                Type::$one
            }
        }

        impl Element for $rust {
            fn array_type() -> Type {
                Type::$many
            }
        }

        impl Element for Option<$rust> {
            fn array_type() -> Type {
                Type::$many
            }
        }
    )*};
}

parameters! {
    bool: BOOL, BOOL_ARRAY;
    i16: INT2, INT2_ARRAY;
    i32: INT4, INT4_ARRAY;
    i64: INT8, INT8_ARRAY;
    Text: TEXT, TEXT_ARRAY;
    Blob: BYTEA, BYTEA_ARRAY;
    Uuid: UUID, UUID_ARRAY;
    SystemTime: TIMESTAMPTZ, TIMESTAMPTZ_ARRAY;
    Day: DATE, DATE_ARRAY;
}

impl<T: Element> Parameter for Vec<T> {
    fn sql_type() -> Type {
        T::array_type()
    }
}

impl<T: Element> Parameter for Option<Vec<T>> {
    fn sql_type() -> Type {
        T::array_type()
    }
}

/// Text that is shared, not copied. It must hold no U+0000: see [`crate::store::text::storable`].
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) Arc<str>);

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TEXT
    }

    to_sql_checked!();
}

/// Bytes that are shared, not copied.
#[derive(Clone, Debug)]
pub(super) struct Blob(pub(super) Bytes);

impl ToSql for Blob {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BYTEA
    }

    to_sql_checked!();
}

/// A day of the calendar, in days since 2000-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(pub(super) i32);

impl Day {
    /// Returns the day of a UUIDv7.
    pub(super) fn of_id(id: Uuid) -> Self {
        const MS_PER_DAY: u128 = 86_400_000;
        const DAYS_TO_2000: i32 = 10_957;
        let days = i32::try_from((id.as_u128() >> 80) / MS_PER_DAY).unwrap_or(i32::MAX);
        Self(days.saturating_sub(DAYS_TO_2000))
    }
}

impl ToSql for Day {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i32(self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::DATE
    }

    to_sql_checked!();
}

/// Returns a text as a parameter.
pub(super) fn text(text: &str) -> Text {
    Text(storable(text).into())
}

/// Returns a duration as the functions take it: whole milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a column of an answer.
///
/// # Errors
/// The server has another function of that name: [`StoreError::Corrupted`].
pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Row, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(|_| {
        StoreError::Corrupted("a function of the schema answered in another form".into())
    })
}
