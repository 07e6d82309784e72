"""The words of the corpus, each with what the three languages need to inflect and place it.

To add a word, add a row. A row's tags say where the patterns may use it; a verb's ``takes`` names the tags of the
nouns that make sense as its object. No two rows of one table share their English form, so that an English
sentence has one translation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stc.corpus.german import Case, Gender


@dataclass(frozen=True)
class Noun:
    """``plural`` and ``de_plural`` are nominatives; ``classifier`` counts it in Chinese; ``weak``: der Student, den
    Studenten."""

    en: str
    plural: str
    de: str
    gender: Gender
    de_plural: str
    zh: str
    classifier: str
    tags: str
    weak: bool = False


@dataclass(frozen=True)
class Verb:
    """A transitive verb.

    ``en``: base, third person, past, participle, gerund. ``de``: infinitive and third person without the separable
    ``prefix``, then the participle; the perfect is formed with ``haben``. ``preposition`` and ``case`` rule the German
    object. ``stative`` verbs stand in the simple present without an adverb of frequency; only ``durative`` ones are in
    progress or repeated. ``zh`` with ``{}`` says where the object stands, ``~`` where the aspect particle does; plain
    verbs have both right after them.
    """

    en: str
    de: str
    zh: str
    takes: str
    prefix: str = ""
    en_preposition: str = ""
    preposition: str = ""
    case: Case = "acc"
    stative: bool = False
    durative: bool = True

    @property
    def forms(self) -> list[str]:
        return self.en.split()

    @property
    def de_forms(self) -> list[str]:
        return self.de.split()


@dataclass(frozen=True)
class Adjective:
    """``zh`` stands before a noun (with 的 where Chinese wants it), ``zh_predicate`` after 很, 更 and 最.

    ``tags``: the nouns it goes with. ``forms``: comparative and superlative; empty where English uses more and most.
    """

    en: str
    de: str
    zh: str
    zh_predicate: str
    tags: str
    forms: str = ""


@dataclass(frozen=True)
class Adverbial:
    """A time or a place; ``de`` and ``zh`` as they stand in the middle of a clause."""

    en: str
    de: str
    zh: str
    kind: Literal["past", "future", "frequency", "place"] = "place"


@dataclass(frozen=True)
class Name:
    en: str
    zh: str


NOUNS: tuple[Noun, ...] = (
    # what one reads and writes
    Noun("report", "reports", "Bericht", "m", "Berichte", "报告", "份", "text"),
    Noun("paper", "papers", "Aufsatz", "m", "Aufsätze", "论文", "篇", "text"),
    Noun("article", "articles", "Artikel", "m", "Artikel", "文章", "篇", "text"),
    Noun("book", "books", "Buch", "n", "Bücher", "书", "本", "text"),
    Noun("letter", "letters", "Brief", "m", "Briefe", "信", "封", "text"),
    Noun("chapter", "chapters", "Kapitel", "n", "Kapitel", "章节", "个", "text"),
    Noun("proposal", "proposals", "Vorschlag", "m", "Vorschläge", "提案", "份", "text plan"),
    Noun("summary", "summaries", "Zusammenfassung", "f", "Zusammenfassungen", "摘要", "份", "text"),
    Noun("document", "documents", "Dokument", "n", "Dokumente", "文件", "份", "text"),
    Noun("contract", "contracts", "Vertrag", "m", "Verträge", "合同", "份", "text"),
    # what one thinks and explains
    Noun("idea", "ideas", "Idee", "f", "Ideen", "想法", "个", "idea plan"),
    Noun("theory", "theories", "Theorie", "f", "Theorien", "理论", "个", "idea"),
    Noun("example", "examples", "Beispiel", "n", "Beispiele", "例子", "个", "idea"),
    Noun("concept", "concepts", "Konzept", "n", "Konzepte", "概念", "个", "idea"),
    Noun("result", "results", "Ergebnis", "n", "Ergebnisse", "结果", "个", "idea data"),
    Noun("method", "methods", "Methode", "f", "Methoden", "方法", "种", "idea method"),
    Noun("approach", "approaches", "Ansatz", "m", "Ansätze", "思路", "种", "idea"),
    Noun("algorithm", "algorithms", "Algorithmus", "m", "Algorithmen", "算法", "种", "idea method system"),
    Noun("strategy", "strategies", "Strategie", "f", "Strategien", "策略", "种", "idea plan"),
    Noun("plan", "plans", "Plan", "m", "Pläne", "计划", "个", "plan"),
    Noun("project", "projects", "Projekt", "n", "Projekte", "项目", "个", "plan"),
    Noun("budget", "budgets", "Budget", "n", "Budgets", "预算", "份", "plan"),
    Noun("problem", "problems", "Problem", "n", "Probleme", "问题", "个", "problem"),
    Noun("task", "tasks", "Aufgabe", "f", "Aufgaben", "任务", "项", "problem"),
    Noun("puzzle", "puzzles", "Rätsel", "n", "Rätsel", "谜题", "个", "problem"),
    Noun("mistake", "mistakes", "Fehler", "m", "Fehler", "错误", "个", "find"),
    Noun("solution", "solutions", "Lösung", "f", "Lösungen", "解决办法", "个", "find idea"),
    Noun("answer", "answers", "Antwort", "f", "Antworten", "答案", "个", "find"),
    # what one builds and tests
    Noun("system", "systems", "System", "n", "Systeme", "系统", "个", "system method"),
    Noun("model", "models", "Modell", "n", "Modelle", "模型", "个", "system method idea"),
    Noun("program", "programs", "Programm", "n", "Programme", "程序", "个", "system method"),
    Noun("tool", "tools", "Werkzeug", "n", "Werkzeuge", "工具", "个", "system"),
    Noun("prototype", "prototypes", "Prototyp", "m", "Prototypen", "原型", "个", "system"),
    Noun("website", "websites", "Webseite", "f", "Webseiten", "网站", "个", "system"),
    Noun("machine", "machines", "Maschine", "f", "Maschinen", "机器", "台", "system device"),
    Noun("computer", "computers", "Computer", "m", "Computer", "电脑", "台", "system device"),
    Noun("camera", "cameras", "Kamera", "f", "Kameras", "摄像机", "台", "system device"),
    Noun("printer", "printers", "Drucker", "m", "Drucker", "打印机", "台", "device"),
    Noun("robot", "robots", "Roboter", "m", "Roboter", "机器人", "个", "system device"),
    Noun("microphone", "microphones", "Mikrofon", "n", "Mikrofone", "麦克风", "个", "device"),
    Noun("table", "tables", "Tabelle", "f", "Tabellen", "表格", "张", "chart"),
    Noun("recording", "recordings", "Aufnahme", "f", "Aufnahmen", "录音", "段", "data"),
    Noun("sample", "samples", "Probe", "f", "Proben", "样本", "个", "data"),
    Noun("measurement", "measurements", "Messung", "f", "Messungen", "测量结果", "个", "data"),
    Noun("map", "maps", "Karte", "f", "Karten", "地图", "张", "chart"),
    # where people come together
    Noun("meeting", "meetings", "Besprechung", "f", "Besprechungen", "会议", "次", "event"),
    Noun("conference", "conferences", "Konferenz", "f", "Konferenzen", "大会", "次", "event"),
    Noun("lecture", "lectures", "Vorlesung", "f", "Vorlesungen", "讲座", "场", "event talk"),
    Noun("workshop", "workshops", "Workshop", "m", "Workshops", "研讨会", "次", "event"),
    Noun("course", "courses", "Kurs", "m", "Kurse", "课程", "门", "event talk"),
    Noun("talk", "talks", "Vortrag", "m", "Vorträge", "演讲", "场", "event talk"),
    Noun("interview", "interviews", "Interview", "n", "Interviews", "采访", "次", "event"),
    Noun("exam", "exams", "Prüfung", "f", "Prüfungen", "考试", "场", "exam talk"),
    # people
    Noun("professor", "professors", "Professor", "m", "Professoren", "教授", "位", "person"),
    Noun("student", "students", "Student", "m", "Studenten", "学生", "名", "person", weak=True),
    Noun("colleague", "colleagues", "Kollege", "m", "Kollegen", "同事", "位", "person", weak=True),
    Noun("teacher", "teachers", "Lehrer", "m", "Lehrer", "老师", "位", "person"),
    Noun("engineer", "engineers", "Ingenieur", "m", "Ingenieure", "工程师", "名", "person"),
    Noun("researcher", "researchers", "Forscher", "m", "Forscher", "研究人员", "名", "person"),
    Noun("guest", "guests", "Gast", "m", "Gäste", "客人", "位", "person"),
    Noun("speaker", "speakers", "Redner", "m", "Redner", "演讲者", "位", "person"),
    Noun("expert", "experts", "Experte", "m", "Experten", "专家", "位", "person", weak=True),
    Noun("customer", "customers", "Kunde", "m", "Kunden", "客户", "位", "person", weak=True),
    Noun("doctor", "doctors", "Arzt", "m", "Ärzte", "医生", "位", "person"),
    Noun("journalist", "journalists", "Journalist", "m", "Journalisten", "记者", "名", "person", weak=True),
    Noun("assistant", "assistants", "Assistent", "m", "Assistenten", "助理", "名", "person", weak=True),
    Noun("friend", "friends", "Freund", "m", "Freunde", "朋友", "位", "person"),
)

VERBS: tuple[Verb, ...] = (
    Verb("read reads read read reading", "lesen liest gelesen", "读", "text"),
    Verb("write writes wrote written writing", "schreiben schreibt geschrieben", "写", "text"),
    Verb("translate translates translated translated translating", "übersetzen übersetzt übersetzt", "翻译", "text"),
    Verb(
        "summarize summarizes summarized summarized summarizing",
        "fassen fasst zusammengefasst",
        "总结",
        "text event",
        prefix="zusammen",
    ),
    Verb("print prints printed printed printing", "drucken druckt ausgedruckt", "打印", "text", prefix="aus"),
    Verb(
        "publish publishes published published publishing",
        "veröffentlichen veröffentlicht veröffentlicht",
        "发表",
        "text",
    ),
    Verb("check checks checked checked checking", "prüfen prüft geprüft", "检查", "text data chart system"),
    Verb(
        "discuss discusses discussed discussed discussing",
        "besprechen bespricht besprochen",
        "讨论",
        "text idea problem plan",
    ),
    Verb("explain explains explained explained explaining", "erklären erklärt erklärt", "解释", "idea problem"),
    Verb(
        "present presents presented presented presenting",
        "stellen stellt vorgestellt",
        "介绍",
        "idea plan system",
        prefix="vor",
    ),
    Verb(
        "understand understands understood understood understanding",
        "verstehen versteht verstanden",
        "理解",
        "idea problem",
        stative=True,
    ),
    Verb("develop develops developed developed developing", "entwickeln entwickelt entwickelt", "开发", "system"),
    Verb("test tests tested tested testing", "testen testet getestet", "测试", "system method"),
    Verb(
        "improve improves improved improved improving", "verbessern verbessert verbessert", "改进", "system method plan"
    ),
    Verb("use uses used used using", "verwenden verwendet verwendet", "使用", "system device method"),
    Verb("repair repairs repaired repaired repairing", "reparieren repariert repariert", "修理", "device"),
    Verb(
        "evaluate evaluates evaluated evaluated evaluating", "bewerten bewertet bewertet", "评估", "system method plan"
    ),
    Verb(
        "need needs needed needed needing",
        "brauchen braucht gebraucht",
        "需要",
        "device text data chart find",
        stative=True,
    ),
    Verb(
        "analyze analyzes analyzed analyzed analyzing",
        "analysieren analysiert analysiert",
        "分析",
        "data chart problem",
    ),
    Verb("collect collects collected collected collecting", "sammeln sammelt gesammelt", "收集", "data"),
    Verb("find finds found found finding", "finden findet gefunden", "找到", "find", durative=False),
    Verb("solve solves solved solved solving", "lösen löst gelöst", "解决", "problem"),
    Verb(
        "reject rejects rejected rejected rejecting",
        "lehnen lehnt abgelehnt",
        "否决",
        "plan",
        prefix="ab",
        durative=False,
    ),
    Verb(
        "support supports supported supported supporting", "unterstützen unterstützt unterstützt", "支持", "plan person"
    ),
    Verb("prepare prepares prepared prepared preparing", "bereiten bereitet vorbereitet", "准备", "talk", prefix="vor"),
    Verb(
        "attend attends attended attended attending",
        "nehmen nimmt teilgenommen",
        "参加",
        "event",
        prefix="teil",
        preposition="an",
        case="dat",
    ),
    Verb("organize organizes organized organized organizing", "organisieren organisiert organisiert", "组织", "event"),
    Verb(
        "cancel cancels canceled canceled canceling",
        "sagen sagt abgesagt",
        "取消",
        "event",
        prefix="ab",
        durative=False,
    ),
    Verb(
        "postpone postpones postponed postponed postponing",
        "verschieben verschiebt verschoben",
        "推迟",
        "event exam",
        durative=False,
    ),
    Verb("record records recorded recorded recording", "zeichnen zeichnet aufgezeichnet", "录制", "talk", prefix="auf"),
    Verb(
        "invite invites invited invited inviting",
        "laden lädt eingeladen",
        "邀请",
        "person",
        prefix="ein",
        durative=False,
    ),
    Verb("call calls called called calling", "rufen ruft angerufen", "给{}打~电话", "person", prefix="an"),
    Verb("meet meets met met meeting", "treffen trifft getroffen", "见到", "person", durative=False),
    Verb("help helps helped helped helping", "helfen hilft geholfen", "帮助", "person", case="dat"),
    Verb("thank thanks thanked thanked thanking", "danken dankt gedankt", "感谢", "person", case="dat", durative=False),
    Verb("convince convinces convinced convinced convincing", "überzeugen überzeugt überzeugt", "说服", "person"),
    Verb(
        "trust trusts trusted trusted trusting",
        "vertrauen vertraut vertraut",
        "信任",
        "person",
        case="dat",
        stative=True,
    ),
    Verb(
        "wait waits waited waited waiting",
        "warten wartet gewartet",
        "等{}",
        "person",
        en_preposition="for",
        preposition="auf",
    ),
    Verb(
        "work works worked worked working",
        "arbeiten arbeitet gearbeitet",
        "研究",
        "system method problem",
        en_preposition="on",
        preposition="an",
        case="dat",
    ),
    Verb(
        "talk talks talked talked talking",
        "sprechen spricht gesprochen",
        "谈论",
        "idea plan problem",
        en_preposition="about",
        preposition="über",
    ),
    Verb(
        "vote votes voted voted voting",
        "stimmen stimmt abgestimmt",
        "表决",
        "plan",
        prefix="ab",
        en_preposition="on",
        preposition="über",
    ),
)

ADJECTIVES: tuple[Adjective, ...] = (
    Adjective("new", "neu", "新", "新", "text idea method system device plan event data talk chart"),
    Adjective("old", "alt", "旧", "旧", "text system device plan data chart"),
    Adjective("important", "wichtig", "重要的", "重要", "text idea method plan problem event data find", ""),
    Adjective("interesting", "interessant", "有趣的", "有趣", "text idea event problem talk"),
    Adjective("difficult", "schwierig", "困难的", "困难", "problem"),
    Adjective("simple", "einfach", "简单的", "简单", "idea method system problem plan", "simpler simplest"),
    Adjective("useful", "nützlich", "有用的", "有用", "text idea method system device data chart"),
    Adjective("expensive", "teuer", "昂贵的", "贵", "device"),
    Adjective("cheap", "billig", "便宜的", "便宜", "device", "cheaper cheapest"),
    Adjective("fast", "schnell", "快速的", "快", "system device", "faster fastest"),
    Adjective("slow", "langsam", "缓慢的", "慢", "system device", "slower slowest"),
    Adjective("reliable", "zuverlässig", "可靠的", "可靠", "method system device data"),
    Adjective("long", "lang", "长", "长", "text talk", "longer longest"),
    Adjective("short", "kurz", "短", "短", "text talk", "shorter shortest"),
    Adjective("detailed", "detailliert", "详细的", "详细", "text plan chart"),
    Adjective("clear", "klar", "清楚的", "清楚", "idea chart", "clearer clearest"),
    Adjective("complete", "vollständig", "完整的", "完整", "text data chart"),
    Adjective("modern", "modern", "现代化的", "现代化", "device"),
    Adjective("convincing", "überzeugend", "有说服力的", "有说服力", "idea text"),
    Adjective("flexible", "flexibel", "灵活的", "灵活", "system method plan"),
)

# Said of people, after 很.
MOODS: tuple[Adjective, ...] = (
    Adjective("tired", "müde", "疲惫的", "累", "person"),
    Adjective("busy", "beschäftigt", "忙碌的", "忙", "person"),
    Adjective("satisfied", "zufrieden", "满意的", "满意", "person"),
    Adjective("nervous", "nervös", "紧张的", "紧张", "person"),
    Adjective("patient", "geduldig", "耐心的", "有耐心", "person"),
    Adjective("curious", "neugierig", "好奇的", "好奇", "person"),
    Adjective("surprised", "überrascht", "惊讶的", "惊讶", "person"),
    Adjective("disappointed", "enttäuscht", "失望的", "失望", "person"),
    Adjective("optimistic", "optimistisch", "乐观的", "乐观", "person"),
    Adjective("angry", "verärgert", "生气的", "生气", "person"),
)

TIMES: tuple[Adverbial, ...] = (
    Adverbial("yesterday", "gestern", "昨天", "past"),
    Adverbial("last week", "letzte Woche", "上周", "past"),
    Adverbial("last month", "letzten Monat", "上个月", "past"),
    Adverbial("last year", "letztes Jahr", "去年", "past"),
    Adverbial("this morning", "heute Morgen", "今天早上", "past"),
    Adverbial("last night", "gestern Abend", "昨天晚上", "past"),
    Adverbial("two days ago", "vor zwei Tagen", "两天前", "past"),
    Adverbial("three weeks ago", "vor drei Wochen", "三周前", "past"),
    Adverbial("this spring", "in diesem Frühling", "今年春天", "past"),
    Adverbial("recently", "kürzlich", "最近", "past"),
    Adverbial("tomorrow", "morgen", "明天", "future"),
    Adverbial("next week", "nächste Woche", "下周", "future"),
    Adverbial("next month", "nächsten Monat", "下个月", "future"),
    Adverbial("next year", "nächstes Jahr", "明年", "future"),
    Adverbial("this evening", "heute Abend", "今晚", "future"),
    Adverbial("this afternoon", "heute Nachmittag", "今天下午", "future"),
    Adverbial("next Monday", "nächsten Montag", "下周一", "future"),
    Adverbial("next Thursday", "nächsten Donnerstag", "下周四", "future"),
    Adverbial("soon", "bald", "很快就", "future"),
    Adverbial("in two hours", "in zwei Stunden", "两个小时后", "future"),
    Adverbial("every day", "jeden Tag", "每天都", "frequency"),
    Adverbial("every week", "jede Woche", "每周都", "frequency"),
    Adverbial("every month", "jeden Monat", "每个月都", "frequency"),
    Adverbial("every Friday", "jeden Freitag", "每周五都", "frequency"),
    Adverbial("every year", "jedes Jahr", "每年都", "frequency"),
)

FREQUENCIES: tuple[Adverbial, ...] = (  # before the verb in English
    Adverbial("always", "immer", "总是", "frequency"),
    Adverbial("often", "oft", "经常", "frequency"),
    Adverbial("usually", "normalerweise", "通常", "frequency"),
    Adverbial("sometimes", "manchmal", "有时", "frequency"),
    Adverbial("rarely", "selten", "很少", "frequency"),
)

PLACES: tuple[Adverbial, ...] = (
    Adverbial("in the library", "in der Bibliothek", "在图书馆"),
    Adverbial("at the university", "an der Universität", "在大学里"),
    Adverbial("in the laboratory", "im Labor", "在实验室"),
    Adverbial("in the office", "im Büro", "在办公室"),
    Adverbial("at home", "zu Hause", "在家里"),
    Adverbial("in Berlin", "in Berlin", "在柏林"),
    Adverbial("in Vienna", "in Wien", "在维也纳"),
    Adverbial("in Shanghai", "in Shanghai", "在上海"),
    Adverbial("in London", "in London", "在伦敦"),
    Adverbial("on the train", "im Zug", "在火车上"),
    Adverbial("in the classroom", "im Klassenzimmer", "在教室里"),
    Adverbial("in the kitchen", "in der Küche", "在厨房里"),
    Adverbial("at the airport", "am Flughafen", "在机场"),
)

NAMES: tuple[Name, ...] = (
    Name("Anna", "安娜"), Name("Thomas", "托马斯"), Name("Maria", "玛丽亚"), Name("Peter", "彼得"),
    Name("Lisa", "丽莎"), Name("David", "大卫"), Name("Laura", "劳拉"), Name("Daniel", "丹尼尔"),
    Name("Julia", "朱莉娅"), Name("Martin", "马丁"), Name("Sarah", "莎拉"), Name("Michael", "迈克尔"),
)  # fmt: skip

SURNAMES: tuple[Name, ...] = (
    Name("Miller", "米勒"), Name("Weber", "韦伯"), Name("Fischer", "费舍尔"), Name("Brown", "布朗"),
    Name("Klein", "克莱因"), Name("Wilson", "威尔逊"),
)  # fmt: skip

CITIES: tuple[tuple[str, str, str], ...] = (
    ("Berlin", "Berlin", "柏林"), ("Vienna", "Wien", "维也纳"), ("Paris", "Paris", "巴黎"),
    ("London", "London", "伦敦"), ("Munich", "München", "慕尼黑"), ("Shanghai", "Shanghai", "上海"),
    ("Zurich", "Zürich", "苏黎世"), ("Rome", "Rom", "罗马"), ("Tokyo", "Tokio", "东京"),
    ("Hamburg", "Hamburg", "汉堡"), ("Geneva", "Genf", "日内瓦"), ("Beijing", "Peking", "北京"),
)  # fmt: skip

WEEKDAYS: tuple[tuple[str, str, str], ...] = (
    ("Monday", "Montag", "星期一"), ("Tuesday", "Dienstag", "星期二"), ("Wednesday", "Mittwoch", "星期三"),
    ("Thursday", "Donnerstag", "星期四"), ("Friday", "Freitag", "星期五"), ("Saturday", "Samstag", "星期六"),
    ("Sunday", "Sonntag", "星期天"),
)  # fmt: skip

MONTHS: tuple[tuple[str, str, str], ...] = (
    ("January", "Januar", "一月"), ("February", "Februar", "二月"), ("March", "März", "三月"),
    ("April", "April", "四月"), ("May", "Mai", "五月"), ("June", "Juni", "六月"),
    ("July", "Juli", "七月"), ("August", "August", "八月"), ("September", "September", "九月"),
    ("October", "Oktober", "十月"), ("November", "November", "十一月"), ("December", "Dezember", "十二月"),
)  # fmt: skip
