use super::*;

fn look() -> Look {
    Look {
        width: Some(100),
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn event_type(name: &str) -> EventType {
    EventType::new(name).unwrap()
}

fn live() -> Live {
    let receivers = |version, tenants, endpoints| Receivers {
        event_type: event_type("invoice.paid"),
        version,
        tenants,
        endpoints,
    };
    let first = RefusedEvent {
        id: "msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57".to_owned(),
        version: 2,
        why: "`/amount` is missing".to_owned(),
    };
    let events = |name, count, refused, first| JudgedEvents {
        event_type: event_type(name),
        count,
        refused,
        first,
    };
    Live {
        receivers: vec![receivers(1, 0, 0), receivers(2, 41, 57), receivers(3, 1, 1)],
        events: vec![
            events("invoice.paid", 100, 3, Some(first)),
            events("order.created", 1, 0, None),
        ],
    }
}

#[test]
fn answers_are_rendered() {
    let text = anstream::adapter::strip_str(&live().text(&look())).to_string();
    let expected = "
✓ invoice.paid 1: no tenant gets it
! invoice.paid 2: 41 tenants get it, at 57 endpoints
! invoice.paid 3: 1 tenant gets it, at 1 endpoint
✕ invoice.paid: 3 of the last 100 events would be refused, such as msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57 in version 2: `/amount` is missing
✓ order.created: the last event is valid
";
    assert_eq!(text, expected);
    assert_eq!(Live::default().text(&look()), "");
    assert_eq!(live().json().len(), 5);
    assert!(live().is_bad() && !Live::default().is_bad());
    let files: Vec<(&str, String)> = live()
        .annotations()
        .into_iter()
        .map(|(level, file, _)| (level, file))
        .collect();
    assert_eq!(
        files,
        [
            ("warning", "invoice.paid/2.schema.json".to_owned()),
            ("warning", "invoice.paid/3.schema.json".to_owned()),
            ("error", "invoice.paid/2.schema.json".to_owned()),
        ]
    );
}

#[test]
fn events_are_held_against_the_new_schema() {
    let schema = br#"{ "required": ["id"] }"#.to_vec();
    let files = [("a.b/1.schema.json".to_owned(), schema)].into();
    let (catalogue, _) = Catalogue::compile(&files);
    let entry = catalogue.get(&event_type("a.b")).unwrap();
    let fault = |version, data: &str| {
        let event = PublishedEvent {
            id: "msg_1".to_owned(),
            version,
            data: RawValue::from_string(data.to_owned()).unwrap(),
        };
        fault(&event, entry)
    };
    assert_eq!(fault(1, r#"{"id":1}"#), None);
    assert_eq!(
        fault(1, r#"{"secret":1}"#).as_deref(),
        Some("`/id` is missing")
    );
    assert_eq!(fault(2, "{}").as_deref(), Some("there is no version 2"));
}
