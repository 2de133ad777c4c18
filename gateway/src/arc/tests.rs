use super::*;

#[test]
fn folds_change_only_blanks_outside_quotes() {
    let long = format!(
        "A: i=1; x; dkim=fail header.d=\"{}\" {}\r\n\tb=c\r\n",
        "q ".repeat(60),
        "w ".repeat(90)
    );
    let folded = String::from_utf8(folded(&long)).unwrap();
    assert_eq!(folded.replace("\r\n ", " "), long.replace("\r\n ", " "));
    assert!(
        folded
            .lines()
            .filter(|line| !line.contains('"'))
            .all(|line| line.len() <= WIDTH)
    );
    assert!(folded.contains(&"q ".repeat(60)));
}

#[test]
fn a_backslash_before_a_quote_ends_no_folding() {
    let value = format!(
        "A: i=1; x; dkim=fail header.d=\"a\\\\\" {}\r\n",
        "w=\"\\\"\" ".repeat(300)
    );
    let folded = String::from_utf8(folded(&value)).unwrap();
    assert!(folded.lines().all(|line| line.len() <= WIDTH), "{folded}");
    assert_eq!(folded.replace("\r\n ", " "), value);
}
