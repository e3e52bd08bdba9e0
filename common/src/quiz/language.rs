//! The language of a person's plan.

use super::Quiz;

/// The languages of plans, by tag, with their English names: those for which the food
/// tables have the allergens.
const LANGUAGES: [(&str, &str); 48] = [
    ("am", "Amharic"),
    ("ar", "Arabic"),
    ("bg", "Bulgarian"),
    ("bn", "Bengali"),
    ("ca", "Catalan"),
    ("cs", "Czech"),
    ("da", "Danish"),
    ("de", "German"),
    ("el", "Greek"),
    ("en", "English"),
    ("es", "Spanish"),
    ("et", "Estonian"),
    ("fa", "Persian"),
    ("fi", "Finnish"),
    ("fil", "Filipino"),
    ("fr", "French"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hr", "Croatian"),
    ("hu", "Hungarian"),
    ("id", "Indonesian"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ka", "Georgian"),
    ("ko", "Korean"),
    ("ku", "Kurdish"),
    ("lt", "Lithuanian"),
    ("lv", "Latvian"),
    ("ms", "Malay"),
    ("nl", "Dutch"),
    ("no", "Norwegian"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("sk", "Slovak"),
    ("sl", "Slovenian"),
    ("sq", "Albanian"),
    ("sr", "Serbian"),
    ("sv", "Swedish"),
    ("sw", "Swahili"),
    ("ta", "Tamil"),
    ("th", "Thai"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("ur", "Urdu"),
    ("vi", "Vietnamese"),
    ("zh", "Chinese"),
];
/// Other tags of these languages.
const SAME: [(&str, &str); 6] =
    [("nb", "no"), ("nn", "no"), ("tl", "fil"), ("iw", "he"), ("in", "id"), ("bs", "hr")];
/// Countries with one language of the list, by its tag: name, own name, and code.
/// Countries with several languages use English unless a locale is given.
const COUNTRIES: &str = "
    de = germany, deutschland, de, austria, osterreich, österreich, at, liechtenstein, li
    fr = france, fr, monaco, mc
    es = spain, españa, espana, es, mexico, méxico, mx, argentina, ar, colombia, co, chile, cl, peru, perú, pe, venezuela, ve, ecuador, ec, guatemala, gt, cuba, cu, bolivia, bo, dominican republic, república dominicana, do, honduras, hn, el salvador, sv, nicaragua, ni, costa rica, cr, panama, panamá, pa, uruguay, uy, paraguay, py
    pt = portugal, pt, brazil, brasil, br, angola, ao, mozambique, moçambique, mz
    it = italy, italia, it, san marino, sm
    nl = netherlands, the netherlands, nederland, holland, nl, suriname, sr
    pl = poland, polska, pl
    cs = czechia, czech republic, česko, cz
    sk = slovakia, slovensko, sk
    sl = slovenia, slovenija, si
    hr = croatia, hrvatska, hr
    sr = serbia, srbija, србија, rs
    ro = romania, românia, ro, moldova, md
    bg = bulgaria, българия, bg
    hu = hungary, magyarország, hu
    el = greece, ελλάδα, gr
    tr = turkey, türkiye, turkiye, tr
    ru = russia, russian federation, россия, ru
    uk = ukraine, україна, ua
    sv = sweden, sverige, se
    da = denmark, danmark, dk
    no = norway, norge, no
    fi = finland, suomi, fi
    et = estonia, eesti, ee
    lv = latvia, latvija, lv
    lt = lithuania, lietuva, lt
    sq = albania, shqipëria, al
    ka = georgia, საქართველო, ge
    ja = japan, 日本, jp
    ko = south korea, korea, republic of korea, 대한민국, 한국, kr
    zh = china, 中国, cn, taiwan, 台灣, 臺灣, tw
    vi = vietnam, việt nam, viet nam, vn
    th = thailand, ไทย, ประเทศไทย, th
    id = indonesia, id
    ar = saudi arabia, السعودية, sa, egypt, مصر, eg, jordan, الأردن, jo, iraq, العراق, iq, kuwait, الكويت, kw, yemen, اليمن, ye, oman, عمان, om, syria, سوريا, sy, libya, ليبيا, ly
    fa = iran, ایران, ir
    he = israel, ישראל, il";

impl Quiz {
    /// The tag of the plan's language: that of the given locale, else the country's. None
    /// if neither gives one of the list; the plan is then in English.
    pub fn language(&self) -> Option<&'static str> {
        match &self.locale {
            Some(locale) => by_tag(locale),
            None => by_country(self.country.as_deref()?),
        }
    }

    /// The English name of that language.
    pub fn language_name(&self) -> &'static str {
        let tag = self.language().unwrap_or("en");
        LANGUAGES.iter().find(|(own, _)| *own == tag).map_or("English", |(_, name)| name)
    }
}

fn by_tag(locale: &str) -> Option<&'static str> {
    let tag = locale.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    let tag = SAME.iter().find(|(other, _)| *other == tag).map_or(tag.as_str(), |(_, own)| own);
    LANGUAGES.iter().find(|(own, _)| *own == tag).map(|(own, _)| *own)
}

fn by_country(country: &str) -> Option<&'static str> {
    let country = country.trim().to_lowercase();
    let lines = COUNTRIES.lines().filter_map(|line| line.split_once('='));
    let (tag, _) =
        lines.into_iter().find(|(_, names)| names.split(',').any(|name| name.trim() == country))?;
    by_tag(tag.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_and_else_the_country() {
        for (locale, expected) in [
            ("pt-BR", Some("pt")),
            ("NB_no", Some("no")),
            ("zh-Hant-TW", Some("zh")),
            ("tlh", None),
        ] {
            assert_eq!(by_tag(locale), expected, "{locale}");
        }
        for (country, expected) in [
            ("Portugal", Some("pt")),
            (" Österreich ", Some("de")),
            ("JP", Some("ja")),
            ("United States", None),
            ("Switzerland", None),
            ("Atlantis", None),
        ] {
            assert_eq!(by_country(country), expected, "{country}");
        }
    }

    #[test]
    fn every_country_has_a_language_of_the_list() {
        for (tag, _) in COUNTRIES.lines().filter_map(|line| line.split_once('=')) {
            assert!(by_tag(tag.trim()).is_some(), "{tag}");
        }
    }
}
