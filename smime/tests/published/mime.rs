//! Mail of every odd shape: read without panic, and the header found where others find it.

use serde_json::Value;

use crate::suite;

#[test]
fn header_fields_and_body_stand_where_others_find_them() {
    let Some(folder) = suite("mime") else { return };
    let (mut files, mut fields) = (0, 0);
    for name in ["rfc", "legacy"] {
        for entry in std::fs::read_dir(folder.join(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "eml") {
                continue;
            }
            let raw = std::fs::read(&path).unwrap();
            let json: Value =
                serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap())
                    .unwrap();
            let root = &json["parts"][0];
            let examined = crate::examine(&raw);
            assert!(
                examined.signatures.is_empty() && examined.defect.is_none(),
                "{path:?}"
            );
            assert!(examined.body.start <= examined.body.end && examined.body.end <= raw.len());
            let ours: Vec<_> = examined
                .fields
                .iter()
                .map(|field| (field.whole.start, field.whole.end))
                .collect();
            let theirs: Vec<_> = root["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|header| {
                    let at = |key: &str| usize::try_from(header[key].as_u64().unwrap()).unwrap();
                    (at("offset_field"), at("offset_end"))
                })
                .collect();
            files += 1;
            fields += ours.len();
            if name == "rfc" {
                assert_eq!(ours, theirs, "{path:?}");
                assert_eq!(
                    Some(examined.body.start as u64),
                    root["offset_body"].as_u64(),
                    "{path:?}"
                );
            }
        }
    }
    assert!(
        files >= 60 && fields > 300,
        "{files} files, {fields} fields"
    );
}
