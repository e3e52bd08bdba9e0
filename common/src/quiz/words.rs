//! The words beside a number: units in the most common languages, numbers in
//! English, and words without influence on the amount.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::tokens::folded;

/// A unit of length or weight, or of something counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Mm,
    Cm,
    M,
    Inch,
    Foot,
    G,
    Kg,
    Oz,
    Lb,
    Stone,
    /// Half a kilogram: the "pound" of countries that use kilograms, and the
    /// Chinese catty.
    HalfKilo,
    /// The catty of Taiwan.
    Catty,
    Year,
    Percent,
}

/// The meaning of a word in an amount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Word {
    /// A unit; several if the word has several meanings.
    Unit(&'static [Unit]),
    /// A number in words, below 100.
    Count(u8),
    /// "hundred".
    Hundred,
    /// "half".
    Half,
    /// "a", before "half" and "hundred".
    Article,
    /// "and".
    Join,
    /// "or".
    Or,
    /// "to".
    To,
    /// No influence on the amount: "about", "tall".
    Filler,
}

/// The meaning of a word that was [`folded`].
pub(super) fn meaning(word: &str) -> Option<Word> {
    static WORDS: LazyLock<FxHashMap<String, Word>> = LazyLock::new(dictionary);
    WORDS.get(word).copied()
}

fn dictionary() -> FxHashMap<String, Word> {
    let units = UNITS.iter().map(|(units, words)| (Word::Unit(units), *words));
    let others = [
        (Word::Hundred, "hundred"),
        (Word::Half, "half"),
        (Word::Article, "a"),
        (Word::Join, "and plus und et y e i con com og och en ja ve и و 又"),
        (Word::Or, "or oder ou of eller или 或"),
        (Word::To, "to bis till until до 至 到"),
        (Word::Filler, FILLERS),
    ];
    let counts =
        COUNTS.split_whitespace().zip(0..).map(|(word, n)| (word.to_owned(), Word::Count(n)));
    let tens =
        TENS.split_whitespace().zip(2..).map(|(word, n)| (word.to_owned(), Word::Count(10 * n)));
    let mut dictionary: FxHashMap<_, _> = counts.chain(tens).collect();
    for (word, names) in units.chain(others) {
        dictionary.extend(names.split_whitespace().map(|name| (folded(name), word)));
    }
    dictionary
}

const COUNTS: &str = "zero one two three four five six seven eight nine ten eleven twelve \
    thirteen fourteen fifteen sixteen seventeen eighteen nineteen";
const TENS: &str = "twenty thirty forty fifty sixty seventy eighty ninety";

/// "Nearly" and "about" mean that the number was rounded; the others name the measure. No
/// word that makes the number a bound ("over", "under").
const FILLERS: &str = "about out approx approximately around roughly nearly almost exactly circa ca \
    c cca my the is am im its it height weight waist neck hip hips age aged old tall high long \
    heavy even flat weigh weighs bodyweight now currently today barefoot without shoes naked \
    young stand measure tengo mido peso soy altura estatura mide ich bin wiege messe barfuß ohne schuhe aktuell jetzt \
    je fais mesure pèse suis sono alto alta ik weeg lang gammal oud мне вешу ungefahr etwa rund gross groß schwer alt jahrig environ presque aproximadamente \
    aproximado aprox unos unas cerca quase circa quasi ongeveer okolo ok около \
    примерно рост вес возраст 约 約 大约 大約 左右 身高 身長 体重 體重 高 です 입니다 岁数 年龄 de da di von";

/// The units, each with its words, in one line per language group: English, German,
/// French, Spanish and Portuguese, Italian, Dutch and Scandinavian, Slavic, others.
const UNITS: &[(&[Unit], &str)] = &[
    (
        &[Unit::Mm],
        "mm mms millimeter millimeters millimetre millimetres millimètre millimètres milímetro \
         milímetros millimetri мм миллиметр миллиметров 毫米 ミリ",
    ),
    (
        &[Unit::Cm],
        "cm cms sm cmt cmts ctm centi centis centimeter centimeters centimetre centimetres \
         zentimeter centimètre centimètres centímetro centímetros centimetro centimetri \
         centimetrów centymetr centymetry centymetrów centimetru centimetrů centimetara santim santimetre senti sentimeter sentti senttiä senttimetriä \
         см сантиметр сантиметра сантиметров сантиметри сантиметрів εκ εκατοστά εκατοστό \
         厘米 公分 センチ センチメートル 센티 센티미터 سم سنتيمتر سنتيمترا سانت سانتیمتر סמ סנטימטר \
         सेमी सेंटीमीटर ซม เซนติเมตร เซ็นติเมตร",
    ),
    (
        &[Unit::M],
        "m ms mt mts mtr mtrs meter meters metre metres mètre mètres metro metros metri metr \
         metry metrów metrů metara metrin metriä м метр метра метров метри метрів μ μέτρα μέτρο \
         米 公尺 メートル 미터 م متر מ מטר मी मीटर ม เมตร mét",
    ),
    (
        &[Unit::Inch],
        "in ins inch inches inchs inche zoll pouce pouces po pulgada pulgadas pulg polegada \
         polegadas pol pollice pollici duim tum tomme tommer tuumaa cal cale cali palec palce \
         palců hüvelyk inç inci дюйм дюйма дюймов дюйми дюймів ίντσα ίντσες 英寸 英吋 吋 インチ 인치 \
         بوصة بوصات إنش انش اینچ אינץ इंच นิ้ว",
    ),
    (
        &[Unit::Foot],
        "ft fts foot foots feet feets fuß fuss pied pieds pie pies pé pés piede piedi voet fot fod \
         jalka jalkaa stopa stopy stóp stop stopa láb ayak fit kaki фут фута футов фути футів πόδι \
         πόδια 英尺 英呎 呎 フィート フット 피트 قدم أقدام فوت רגל פוט फुट फीट ฟุต",
    ),
    (
        &[Unit::G],
        "g gr gm gms gram grams gramm gramme grammes gramo gramos grama gramas grammo grammi г гр \
         грамм граммов 克 グラム",
    ),
    (
        &[Unit::Kg],
        "kg kgs kgr kgm kilogr kilo kilos kilogram kilograms kilogramme kilogrammes kilogramm \
         kilogramos kilogramo quilo quilos quilograma quilogramas chilo chili chilogrammo \
         chilogrammi kilogramma kilogrammi kilograma kilogramów kilogramy kilogramu kila kil kiloa kilogrammaa кг кило килограмм \
         килограмма килограммов кілограм кілограмів килограма κιλά κιλό κιλο χλγ 公斤 千克 キロ \
         キログラム 킬로 킬로그램 كجم كغ كغم كيلو كيلوغرام كيلوجرام کیلو کیلوگرم קג קילו קילוגרם \
         किलो किग्रा किलोग्राम กก กิโล กิโลกรัม ký",
    ),
    (&[Unit::Oz], "oz ozs ounce ounces onza onzas onça onças"),
    (
        &[Unit::Lb],
        "lb lbs ibs pound pounds # libra libras livre livres libbra libbre funt funty funtów libre фунт фунта \
         фунтов фунти фунтів λίβρα λίβρες 磅 英磅 ポンド 파운드 باوند पाउंड ปอนด์",
    ),
    (&[Unit::Stone], "st sts stn stone stones 英石"),
    // Half a kilogram in metric countries, and the British pound.
    (&[Unit::HalfKilo, Unit::Lb], "pfund pond pund"),
    // Half a kilogram in mainland China, 600 g in Taiwan.
    (&[Unit::HalfKilo, Unit::Catty], "斤"),
    (&[Unit::HalfKilo], "市斤"),
    (&[Unit::Catty], "台斤"),
    (
        &[Unit::Year],
        "year years yr yrs yo yoa jahr jahre jahren an ans année années año años ano anos anno anni \
         jaar år lat lata rok roky let vuotta vuotias év éves yaş yıl yaşında tahun tuổi лет год \
         года років роки ετών χρόνια 岁 歲 歳 才 세 살 سنة سنوات عام سال שנה שנים साल वर्ष ปี",
    ),
    (&[Unit::Percent], "% percent pct prozent pourcent porciento процент процентов"),
];
