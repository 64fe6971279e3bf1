//! The day on which a post was written, from the date formats of the archives.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Number of digits of a Unix time in seconds (until the year 2286) and in milliseconds.
const UNIX_SECONDS_DIGITS: usize = 10;
const UNIX_MILLISECONDS_DIGITS: usize = 13;

/// The day (UTC) of a post's `created_at`; `None` if its format is unknown.
///
/// Accepted are RFC 3339 (Mastodon, Bluesky, X's long posts), X's `Wed Oct 10 20:19:24 +0000 2018`
/// and its older `2018-10-10 20:19:24 +0000`, what spreadsheets make of these, a bare day, and a
/// Unix time of 10 (seconds) or 13 digits (milliseconds). Without an offset, UTC is assumed.
pub fn day(text: &str) -> Option<Date> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        let seconds = match text.len() {
            UNIX_SECONDS_DIGITS => number,
            UNIX_MILLISECONDS_DIGITS => number / 1000,
            _ => return None,
        };
        return Some(OffsetDateTime::from_unix_timestamp(seconds).ok()?.date());
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| with_offset(text));
    if let Some(moment) = moment {
        return Some(moment.checked_to_offset(UtcOffset::UTC)?.date());
    }
    without_offset(text)
}

fn with_offset(text: &str) -> Option<OffsetDateTime> {
    let x = format_description!(
        "[weekday repr:short] [month repr:short] [day padding:none] [hour]:[minute]:[second] \
         [offset_hour sign:mandatory][offset_minute] [year]"
    );
    let x_older = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    let spreadsheet = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second][offset_hour sign:mandatory]:[offset_minute]"
    );
    OffsetDateTime::parse(text, x)
        .or_else(|_| OffsetDateTime::parse(text, x_older))
        .or_else(|_| OffsetDateTime::parse(text, spreadsheet))
        .ok()
}

fn without_offset(text: &str) -> Option<Date> {
    let text = text.split_once('.').map_or(text, |(whole_seconds, _)| whole_seconds).replacen('T', " ", 1);
    let seconds = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let minutes = format_description!("[year]-[month]-[day] [hour]:[minute]");
    PrimitiveDateTime::parse(&text, seconds)
        .or_else(|_| PrimitiveDateTime::parse(&text, minutes))
        .map(PrimitiveDateTime::date)
        .ok()
        .or_else(|| Date::parse(&text, format_description!("[year]-[month]-[day]")).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::date;

    use super::*;

    #[test]
    fn every_notation_gives_its_day() {
        for text in [
            "Wed Oct 10 20:19:24 +0000 2018",
            "2018-10-10T20:19:24.000Z",
            "2018-10-10T20:19:24Z",
            "2018-10-10T20:19:24.123456+00:00",
            "2018-10-10 20:19:24 +0000",
            "2018-10-10 20:19:24+00:00",
            "2018-10-10 20:19:24",
            "2018-10-10T20:19:24.5",
            "2018-10-10 20:19",
            " 2018-10-10 ",
            "1539202764",
            "1539202764000",
        ] {
            assert_eq!(day(text), Some(date!(2018 - 10 - 10)), "{text}");
        }
    }

    #[test]
    fn days_are_of_utc() {
        assert_eq!(day("2018-10-10T22:30:00-05:00"), Some(date!(2018 - 10 - 11)));
        assert_eq!(day("Thu Oct 11 01:00:00 +0200 2018"), Some(date!(2018 - 10 - 10)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "yesterday", "2018", "2018-13-01", "10/10/2018", "99999999999", "-1539202764"] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_day_or_none(text: String, digits in "[0-9TZ:+. -]{0,30}") {
            let _ = (day(&text), day(&digits));
        }
    }
}
