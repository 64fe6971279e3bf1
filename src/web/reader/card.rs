//! A bot's card: Markdown that contains HTML, from whoever made the bot. The result has text,
//! links, tables and the bundle's own pictures: no script, no style, and no request to another
//! site.

use std::borrow::Cow;

use ammonia::{Builder, Url, UrlRelative};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use crate::{
    bundle::Manifest,
    web::protocol::{CardPage, CardRequest},
};

/// Renders a card.
pub fn render(request: &CardRequest) -> CardPage {
    let mut page = CardPage { html: to_html(&request.markdown, &request.folder), ..CardPage::default() };
    if let Ok(manifest) = Manifest::from_json(request.manifest.as_bytes()) {
        let files = manifest.files.iter();
        page.files = files.map(|(name, file)| (name.clone(), file.size, file.sha256.clone())).collect();
        page.validation = manifest.card.map(|card| card.validation).unwrap_or_default();
        page.first_loss = manifest.info.provenance.first_loss;
        page.final_loss = manifest.info.provenance.final_loss;
    }
    page
}

/// Renders Markdown as sanitised HTML; URLs are relative to `folder`.
fn to_html(markdown: &str, folder: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut in_front_matter = false;
    let mut header = Header::Ahead;
    let events = Parser::new_ext(markdown, options).filter(move |event| {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => in_front_matter = true,
            Event::End(TagEnd::MetadataBlock(_)) => in_front_matter = false,
            _ => {}
        }
        !in_front_matter && !header.takes(event)
    });
    let mut unsafe_html = String::new();
    html::push_html(&mut unsafe_html, events);
    sanitise(&unsafe_html, folder)
}

/// The card's header (avatars, name, handle), which the page shows itself: the first HTML block, if
/// nothing precedes it and it is centred.
#[derive(Clone, Copy)]
enum Header {
    Ahead,
    Opened,
    Inside,
    Past,
}

impl Header {
    /// Whether the event belongs to the header.
    fn takes(&mut self, event: &Event) -> bool {
        let (next, takes) = match (*self, event) {
            (here, Event::Start(Tag::MetadataBlock(_)) | Event::End(TagEnd::MetadataBlock(_))) => {
                (here, true)
            }
            (Self::Ahead, Event::Start(Tag::HtmlBlock)) => (Self::Opened, true),
            (Self::Opened, Event::Html(line)) if line.starts_with("<div align=\"center\"") => {
                (Self::Inside, true)
            }
            (Self::Inside, Event::End(TagEnd::HtmlBlock)) => (Self::Past, true),
            (Self::Inside, _) => (Self::Inside, true),
            _ => (Self::Past, false),
        };
        *self = next;
        takes
    }
}

fn sanitise(html: &str, folder: &str) -> String {
    let base = Url::parse(folder).ok();
    let mut builder = Builder::default();
    builder
        .rm_tags(["area", "map", "article", "aside", "header", "footer", "nav", "hgroup", "bdo"])
        .link_rel(Some("noopener noreferrer nofollow"))
        .url_schemes(["http", "https"].into());
    match base {
        Some(base) => {
            builder.url_relative(UrlRelative::RewriteWithBase(base.clone()));
            // A cross-origin isolated page shows another origin's picture only if it was requested
            // with CORS.
            builder.set_tag_attribute_value("img", "crossorigin", "anonymous");
            // A picture from another site would tell that site about the visit.
            builder.attribute_filter(move |element, attribute, value| match (element, attribute) {
                ("img", "src") => {
                    let own = base.join(value).is_ok_and(|url| url.origin() == base.origin());
                    own.then_some(Cow::Borrowed(value))
                }
                _ => Some(Cow::Borrowed(value)),
            });
        }
        None => {
            builder.rm_tags(["img"]).url_relative(UrlRelative::Deny);
        }
    }
    builder.clean(html).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "https://a.example/bot/";

    fn rendered(markdown: &str) -> String {
        to_html(markdown, FOLDER)
    }

    #[test]
    fn the_demo_card_is_readable() {
        let card = include_str!("../../../model-card/demo/README.md");
        let html = rendered(card);
        assert!(html.contains("<h2>How does it work?</h2>"), "{html}");
        assert!(html.contains("<td"), "{html}");
        assert!(html.contains("src=\"https://a.example/bot/predictions.png\""), "{html}");
        for absent in ["library_name", "border-radius", "style=", "<div", ">TL<"] {
            assert!(!html.contains(absent), "{absent}: {html}");
        }
    }

    #[test]
    fn nothing_runs_and_nothing_calls_home() {
        for hostile in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<svg onload=alert(1)>",
            "[a](javascript:alert(1))",
            "[a](data:text/html,x)",
            "![a](https://tracker.example/x.png)",
            "<iframe src=https://tracker.example></iframe>",
            "<style>body{display:none}</style>",
            "<p style=\"position:fixed\">a</p>",
            "<form action=https://tracker.example><input></form>",
            "<a href=\"//tracker.example\" onclick=\"x()\">a</a><base href=https://tracker.example>",
            "<math><mtext></p><style><img src=x onerror=alert(1)></style></mtext></math>",
            "<!--><img src=x onerror=alert(1)>-->",
        ] {
            let html = rendered(hostile);
            for bad in [
                "<script",
                "onerror",
                "onload",
                "onclick",
                "javascript:",
                "data:",
                "<iframe",
                "<style",
                "style=",
                "<form",
                "<input",
                "<base",
                "src=\"https://tracker",
            ] {
                assert!(!html.contains(bad), "{bad} in {html} of {hostile}");
            }
        }
    }

    #[test]
    fn pictures_are_asked_for_with_cors() {
        for markdown in
            ["![a](a.png)", "<img src=a.png>", "<img crossorigin=\"use-credentials\" src=\"./a.png\">"]
        {
            let html = rendered(markdown);
            assert!(html.contains("src=\"https://a.example/bot/a.png\""), "{html}");
            assert!(html.contains("crossorigin=\"anonymous\""), "{html}");
            assert_eq!(html.matches("crossorigin").count(), 1, "{html}");
        }
    }

    #[test]
    fn links_leave_without_a_word_of_where_from() {
        let html = rendered("[a](https://b.example/)");
        assert!(html.contains("rel=\"noopener noreferrer nofollow\""), "{html}");
    }

    #[test]
    fn what_bot_json_says_stands_beside_it() {
        let request = CardRequest {
            markdown: "text".into(),
            manifest: include_str!("../../../model-card/demo/bot.json").into(),
            folder: FOLDER.into(),
        };
        let page = render(&request);
        assert!(
            page.files
                .iter()
                .any(|(name, bytes, sha)| name == "model-q8_0.gguf" && *bytes > 0 && sha.len() == 64)
        );
        assert!(page.first_loss > page.final_loss);
        let alone = render(&CardRequest { manifest: "{}".into(), ..request });
        assert!(alone.files.is_empty() && alone.html.contains("text"));
    }
}
