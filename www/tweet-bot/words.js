// The widget's sentences, in six languages; part of www/tweet-bot.js.

// Keys of phases and reasons are the engine's names.
const WORDS = {
  en: {
    bot: "A bot", label: "AI BOT", cyborg: "AI CYBORG", note: "AI-generated parody", more: "Open on its own page", start: "Start of the tweet",
    generate: "Generate tweets", stop: "Stop", retry: "Retry", drafts: "Drafts", draft: "Draft", copy: "Copy", copied: "Copied",
    uncopied: "Copy the selected text", idle: "Writes on your own device", starting: "Starting the engine", waiting: "Another tab is downloading this bot",
    download: "Downloading the bot", cache: "Loading the bot from this device", check: "Checking the engine", ready: "ready",
    writing: "writing", turn: "Waiting for another bot on this page", thread: "thread", threads: "threads", failed: "The engine is not running",
    refused: "These settings cannot be used.", notKept: "the bot was not saved on this device: {reason}",
    full: "its storage is full", no_storage: "this browser gives the page no storage", undescribed: "it has no bot.json",
  },
  es: {
    bot: "Un bot", label: "BOT DE IA", cyborg: "CÍBORG DE IA", note: "Parodia generada por IA", more: "Abrir en su propia página", start: "Comienzo del tuit",
    generate: "Generar tuits", stop: "Parar", retry: "Reintentar", drafts: "Borradores", draft: "Borrador", copy: "Copiar", copied: "Copiado",
    uncopied: "Copia el texto marcado", idle: "Escribe en tu propio dispositivo", starting: "Arrancando el motor", waiting: "Otra pestaña está descargando este bot",
    download: "Descargando el bot", cache: "Leyendo el bot de este dispositivo", check: "Comprobando el motor", ready: "listo",
    writing: "escribiendo", turn: "Esperando a otro bot de esta página", thread: "hilo", threads: "hilos", failed: "El motor no está en marcha",
    refused: "Los borradores no pueden escribirse así.", notKept: "el bot no se guardó en este dispositivo: {reason}",
    full: "su almacenamiento está lleno", no_storage: "este navegador no da almacenamiento a la página", undescribed: "ningún bot.json lo describe",
  },
  fr: {
    bot: "Un bot", label: "BOT IA", cyborg: "CYBORG IA", note: "Parodie générée par IA", more: "Ouvrir sur sa propre page", start: "Début du tweet",
    generate: "Générer des tweets", stop: "Arrêter", retry: "Réessayer", drafts: "Brouillons", draft: "Brouillon", copy: "Copier", copied: "Copié",
    uncopied: "Copiez le texte sélectionné", idle: "Écrit sur votre appareil", starting: "Démarrage du moteur", waiting: "Un autre onglet télécharge ce bot",
    download: "Téléchargement du bot", cache: "Lecture du bot sur cet appareil", check: "Vérification du moteur", ready: "prêt",
    writing: "écriture en cours", turn: "En attente d’un autre bot de cette page", thread: "thread", threads: "threads", failed: "Le moteur ne tourne pas",
    refused: "Les brouillons ne peuvent pas être écrits ainsi.", notKept: "le bot n’a pas été gardé sur cet appareil : {reason}",
    full: "son stockage est plein", no_storage: "ce navigateur ne donne pas de stockage à la page", undescribed: "aucun bot.json ne le décrit",
  },
  de: {
    bot: "Ein Bot", label: "KI-BOT", cyborg: "KI-CYBORG", note: "Von KI erzeugte Parodie", more: "Auf eigener Seite öffnen", start: "Anfang des Tweets",
    generate: "Tweets erzeugen", stop: "Stopp", retry: "Noch einmal", drafts: "Entwürfe", draft: "Entwurf", copy: "Kopieren", copied: "Kopiert",
    uncopied: "Markierten Text kopieren", idle: "Schreibt auf deinem Gerät", starting: "Die Engine startet", waiting: "Ein anderer Tab lädt diesen Bot gerade herunter",
    download: "Der Bot wird heruntergeladen", cache: "Der Bot wird von diesem Gerät gelesen", check: "Die Engine wird geprüft", ready: "bereit",
    writing: "schreibt", turn: "Wartet auf einen anderen Bot dieser Seite", thread: "Thread", threads: "Threads", failed: "Die Engine läuft nicht",
    refused: "So können die Entwürfe nicht geschrieben werden.", notKept: "der Bot wurde auf diesem Gerät nicht aufbewahrt: {reason}",
    full: "sein Speicher ist voll", no_storage: "dieser Browser gibt der Seite keinen Speicher", undescribed: "keine bot.json beschreibt ihn",
  },
  pt: {
    bot: "Um bot", label: "BOT DE IA", cyborg: "CIBORGUE DE IA", note: "Paródia gerada por IA", more: "Abrir na própria página", start: "Começo do tuíte",
    generate: "Gerar tuítes", stop: "Parar", retry: "Tentar de novo", drafts: "Rascunhos", draft: "Rascunho", copy: "Copiar", copied: "Copiado",
    uncopied: "Copie o texto marcado", idle: "Escreve no seu próprio aparelho", starting: "Iniciando o motor", waiting: "Outra aba está baixando este bot",
    download: "Baixando o bot", cache: "Lendo o bot deste aparelho", check: "Verificando o motor", ready: "pronto",
    writing: "escrevendo", turn: "À espera de outro bot desta página", thread: "thread", threads: "threads", failed: "O motor não está rodando",
    refused: "Os rascunhos não podem ser escritos assim.", notKept: "o bot não foi guardado neste aparelho: {reason}",
    full: "o armazenamento está cheio", no_storage: "este navegador não dá armazenamento à página", undescribed: "nenhum bot.json o descreve",
  },
  ja: {
    bot: "ボット", label: "AI ボット", cyborg: "AI サイボーグ", note: "AI が生成したパロディ", more: "専用ページで開く", start: "ツイートの書き出し",
    generate: "ツイートを生成", stop: "停止", retry: "再試行", drafts: "下書き", draft: "下書き", copy: "コピー", copied: "コピーしました",
    uncopied: "選択された文字をコピーしてください", idle: "この端末の中で書きます", starting: "エンジンを起動しています", waiting: "別のタブがこのボットをダウンロードしています",
    download: "ボットをダウンロードしています", cache: "この端末からボットを読み込んでいます", check: "エンジンを確認しています", ready: "準備完了",
    writing: "執筆中", turn: "このページの別のボットを待っています", thread: "スレッド", threads: "スレッド", failed: "エンジンは停止しています",
    refused: "この条件では下書きを書けません。", notKept: "ボットはこの端末に保存されませんでした：{reason}",
    full: "端末の空き容量がありません", no_storage: "このブラウザはページに保存領域を与えません", undescribed: "bot.json に記載がありません",
  },
};
