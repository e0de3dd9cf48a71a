//! The place of an error in a JSON text, as a JSON pointer.

/// The maximum number of characters of a pointer.
const MAX_POINTER: usize = 256;

/// An object or list that is open at some place of the text.
enum Open {
    /// An object, with its present key, and whether the key's colon was read.
    Object { key: Option<String>, in_value: bool },
    /// A list, with its present index.
    List(usize),
}

/// Returns the pointer to the value or key that ends at a place of a JSON text, or begins there. The parser of the text has read
/// everything before this place without a syntax error.
pub(super) fn pointer(json: &[u8], end: usize) -> String {
    let mut open: Vec<Open> = Vec::new();
    let mut rest = json.get(..end).unwrap_or(json);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' => open.push(Open::Object {
                key: None,
                in_value: false,
            }),
            b'[' => open.push(Open::List(0)),
            b'}' | b']' => drop(open.pop()),
            b':' => {
                if let Some(Open::Object { in_value, .. }) = open.last_mut() {
                    *in_value = true;
                }
            }
            b',' => match open.last_mut() {
                Some(Open::Object { key, in_value }) => (*key, *in_value) = (None, false),
                Some(Open::List(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let (text, after) = split_string(rest);
                rest = after;
                if let Some(Open::Object {
                    key,
                    in_value: false,
                }) = open.last_mut()
                {
                    *key = serde_json::from_slice(&[b"\"", text, b"\""].concat()).ok();
                }
            }
            _ => {}
        }
    }
    let mut pointer = String::new();
    for level in &open {
        match level {
            Open::Object { key: Some(key), .. } => {
                pointer.push('/');
                pointer.push_str(&escaped(key));
            }
            Open::Object { key: None, .. } => {}
            Open::List(index) => pointer.push_str(&format!("/{index}")),
        }
    }
    shortened(pointer)
}

/// Returns a pointer to a field of the object at `pointer`.
pub(super) fn child(pointer: &str, field: &str) -> String {
    shortened(format!("{pointer}/{}", escaped(field)))
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn shortened(pointer: String) -> String {
    match pointer.char_indices().nth(MAX_POINTER) {
        Some((end, _)) => {
            let mut short = pointer;
            short.truncate(end);
            short.push('…');
            short
        }
        None => pointer,
    }
}

/// Splits the text of a string, after its first quotation mark, from what follows its last one.
fn split_string(text: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = text.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let end = end.unwrap_or(text.len());
    let (inside, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (inside, rest.split_first().map_or(rest, |(_, rest)| rest))
}
