//! Paths at an app that are built from the parameters of a route.

/// A path at the app, with parameters of the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(pub Vec<PathPart>);

/// A part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// Text that is taken as written.
    Literal(String),
    /// The raw value of a parameter.
    Parameter(String),
}
