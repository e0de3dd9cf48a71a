use super::*;

/// Reads a body whose bytes arrive in these parts.
fn read(mut framing: Framing, parts: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), Malformed> {
    let (mut body, mut bytes) = (Vec::new(), BytesMut::new());
    for part in parts {
        bytes.extend_from_slice(part);
        while let Some(piece) = framing.take(&mut bytes)? {
            assert!(!piece.is_empty());
            body.extend_from_slice(&piece);
        }
    }
    Ok((body, framing.is_over(), bytes.to_vec()))
}

#[test]
fn body_is_found_however_its_bytes_are_cut() {
    let chunked = b"3;x=1\r\nhel\r\n02\r\nlo\r\n0\r\nTrailer: x\r\n\r\nmore";
    for (framing, text) in [
        (Framing::ChunkSize, &chunked[..]),
        (Framing::Sized(5), b"hellomore"),
    ] {
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            let expected = (b"hello".to_vec(), true, b"more".to_vec());
            assert_eq!(read(framing, &[first, second]), Ok(expected), "{cut}");
        }
    }
}

#[test]
fn end_is_known_with_the_last_piece() {
    let mut framing = Framing::ChunkSize;
    let mut bytes = BytesMut::from("5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(framing.take(&mut bytes), Ok(Some("hello".into())));
    assert!(framing.is_over() && bytes.is_empty());
}

#[test]
fn body_without_a_length_goes_on() {
    let expected = (b"hello".to_vec(), false, Vec::new());
    assert_eq!(read(Framing::UntilClose, &[b"hel", b"lo"]), Ok(expected));
}

#[test]
fn other_chunks_are_malformed() {
    let long = [b"5;".to_vec(), vec![b'x'; MAX_LINE]].concat();
    let trailers = [b"0\r\n".to_vec(), b"A: b\r\n".repeat(MAX_TRAILERS / 6 + 1)].concat();
    for text in [
        &b"x\r\n"[..],
        b"-1\r\n",
        b"\r\n\r\n",
        b";x\r\n\r\n",
        b"5\r\nhello!\r\n",
        b"11111111111111111\r\n",
        &long,
        &trailers,
    ] {
        assert_eq!(read(Framing::ChunkSize, &[text]), Err(Malformed));
    }
}
