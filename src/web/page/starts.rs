//! Suggested prompts, in the language that the bot writes.

use crate::web::protocol::BotInfo;

/// Initial text of the prompt field, as in the original.
pub const DEFAULT: &str = "My dream is";

const ENGLISH: [&str; 5] = [DEFAULT, "Today I", "The best thing about", "People ask me", "Tonight"];

/// The tag of the language that a bot writes; `None` if unknown.
pub fn language(bot: &BotInfo) -> Option<&str> {
    bot.accounts.iter().find_map(|account| account.language.as_deref())
}

/// Suggestions for a bot, and their language; English if there are none in the bot's.
pub fn suggestions(bot: Option<&BotInfo>) -> (&'static str, [&'static str; 5]) {
    match bot.and_then(language).and_then(|tag| tag.split('-').next()) {
        Some("es") => ("es", ["Mi sueño es", "Hoy he", "Lo mejor de", "La gente me pregunta", "Esta noche"]),
        Some("fr") => {
            ("fr", ["Mon rêve est", "Aujourd'hui, j'ai", "Le mieux dans", "On me demande", "Ce soir"])
        }
        Some("de") => {
            ("de", ["Mein Traum ist", "Heute habe ich", "Das Beste an", "Man fragt mich", "Heute Nacht"])
        }
        Some("pt") => {
            ("pt", ["O meu sonho é", "Hoje eu", "A melhor coisa de", "As pessoas me perguntam", "Esta noite"])
        }
        Some("ja") => ("ja", ["私の夢は", "今日は", "一番いいのは", "よく聞かれるのは", "今夜は"]),
        _ => ("en", ENGLISH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::protocol::AccountCounts;

    #[test]
    fn the_bots_language_decides() {
        let account = AccountCounts { language: Some("de-AT".into()), ..AccountCounts::default() };
        let bot = BotInfo { accounts: vec![account], ..BotInfo::default() };
        assert_eq!(language(&bot), Some("de-AT"));
        let (language, starts) = suggestions(Some(&bot));
        assert_eq!((language, starts[0]), ("de", "Mein Traum ist"));
        assert_eq!(suggestions(Some(&BotInfo::default())), ("en", ENGLISH));
        assert_eq!(suggestions(None), ("en", ENGLISH));
    }
}
